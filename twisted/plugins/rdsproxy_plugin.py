"""Makes ``rdsproxy`` known to twistd and twist."""

from twisted.application.service import ServiceMaker

rdsproxy = ServiceMaker(
    "rdsproxy",
    "rdsproxy.tap",
    "A connection proxy for MySQL and MariaDB, after Amazon RDS Proxy.",
    "rdsproxy",
)
