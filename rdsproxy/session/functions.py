"""The server's own functions: what calls no other runs nothing that was stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# A name before a parenthesis is a call. Each name is looked at once, from its begin.
_CALL: Final = re.compile(
    rb"(?<![\w$`\"\x80-\xff.])([\w$`\"\x80-\xff]++(?:\s*+\.\s*+[\w$`\"\x80-\xff]++)*+)(\s*+)\("
)

# These are the server's, whatever others there are: none with a digit, since the lexer takes all digits for one. With a
# space before the parenthesis most are names of stored ones.
_NATIVE: Final = frozenset(
    b"ABS ACOS ADDDATE ASCII ASIN ATAN AVG BIN BIT_AND BIT_COUNT BIT_LENGTH BIT_OR BIT_XOR CAST CEIL CEILING"
    b" CHARACTER_LENGTH CHARSET CHAR_LENGTH COALESCE COLLATION CONCAT CONCAT_WS CONNECTION_ID CONVERT COS COUNT"
    b" CURDATE CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURTIME DATABASE DATE DATEDIFF DATE_ADD"
    b" DATE_FORMAT DATE_SUB DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DEGREES ELT EXP EXTRACT FIELD FIND_IN_SET"
    b" FLOOR FORMAT FROM_DAYS FROM_UNIXTIME GREATEST GROUP_CONCAT HEX HOUR IF IFNULL INET_ATON INET_NTOA INSTR"
    b" ISNULL IS_FREE_LOCK IS_USED_LOCK JSON_ARRAY JSON_CONTAINS JSON_EXTRACT JSON_LENGTH JSON_OBJECT JSON_SET"
    b" JSON_UNQUOTE JSON_VALID LAST_DAY LAST_INSERT_ID LCASE LEAST LEFT LENGTH LN LOCALTIME LOCALTIMESTAMP LOCATE"
    b" LOG LOWER LPAD LTRIM MAKEDATE MAX MICROSECOND MID MIN MINUTE MOD MONTH MONTHNAME NOW NULLIF OCTET_LENGTH ORD"
    b" PI POW POWER QUARTER QUOTE RADIANS RAND REPEAT REPLACE REVERSE RIGHT ROUND RPAD RTRIM SCHEMA SECOND"
    b" SEC_TO_TIME SESSION_USER SHA SIGN SIN SPACE SQRT STD STDDEV STRCMP STR_TO_DATE SUBSTR SUBSTRING"
    b" SUBSTRING_INDEX SUM SYSDATE SYSTEM_USER TAN TIME TIMEDIFF TIMESTAMPADD TIMESTAMPDIFF TIME_TO_SEC TO_DAYS"
    b" TRIM TRUNCATE UCASE UNHEX UNIX_TIMESTAMP UPPER USER UTC_DATE UTC_TIME UTC_TIMESTAMP UUID UUID_SHORT VARIANCE"
    b" VERSION WEEK WEEKDAY YEAR FOUND_ROWS ROW_COUNT".split()
)
# These are words, and no names.
_WORDS: Final = frozenset(
    b"ALL AND ANY AS BETWEEN BINARY BY CASE CHAR DECIMAL DISTINCT DIV ELSE EXISTS FLOAT FROM HAVING IF IN INTERVAL"
    b" INTO IS JOIN LIKE LIMIT MOD NOT NUMERIC ON OR OVER PARTITION REGEXP REPLACE SELECT SET SOME THEN UNION USING"
    b" VALUES VARBINARY VARCHAR WHEN WHERE XOR".split()
)


def only_native(code: bytes) -> bool:
    """Tell that statements call no function but the server's own; `code` is without strings, in upper case."""
    return all(word or native for _, word, native in calls(code))


def calls(code: bytes) -> Iterator[tuple[bytes, bool, bool]]:
    """Give each name before a parenthesis; whether it is a word and no name; whether the function is the server's.

    `code` is as for `only_native`.
    """
    for name, space in _CALL.findall(code):
        yield name, name in _WORDS, not space and name in _NATIVE
