/* What the twins have in common: how they reach the attributes of our objects, and what they call that is Python's. */

#ifndef TWINS_H
#define TWINS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define HEADER 4            /* bytes before a packet's payload: its length, three bytes, and its sequence id */
#define MAX_PAYLOAD 0xFFFFFF
#define ID_AT (HEADER + 1)  /* of a statement's id, behind the command */
#define ID_SIZE 4
#define FIRST 0             /* states of a reply, as in protocol/reply.py */
#define DONE 5

/* -- attributes (attributes.c) ----------------------------------------------------------------------------------- */

/* The types whose slots are used here, in the order in which they are given. */
enum {
    CLIENT, RELAY, SESSION, DIAGNOSTICS, STATEMENTS, STATEMENT, AGAIN, BEHIND, PINS, CONNECTION, REPLY, FORM, TELLING,
    COPIES, COPY, ROUTE, POOL, COUNTS, DURATIONS, DEADLINES, SPARES, BOOKS, SHELF, TYPES
};

#define SLOTS(slot) \
    slot(CLIENT, _buffer) slot(CLIENT, _compressing) slot(CLIENT, _handlers) slot(CLIENT, _large) \
    slot(CLIENT, _last_used) slot(CLIENT, _plain_query) slot(CLIENT, _seconds) slot(CLIENT, queries) \
    slot(CLIENT, relay) \
    slot(RELAY, _after_ok) slot(RELAY, behind) slot(RELAY, busy) slot(RELAY, client) slot(RELAY, command) \
    slot(RELAY, connection) slot(RELAY, deliver) slot(RELAY, form) slot(RELAY, key) slot(RELAY, lost) \
    slot(RELAY, pin_log) slot(RELAY, route) slot(RELAY, sequence) slot(RELAY, session) slot(RELAY, slow_client) \
    slot(RELAY, traits) slot(RELAY, until) slot(RELAY, waiting) \
    slot(SESSION, diagnostics) slot(SESSION, insert_id) slot(SESSION, insert_id_here) slot(SESSION, insert_id_moved) \
    slot(SESSION, pins) slot(SESSION, state) slot(SESSION, statements) slot(SESSION, states) slot(SESSION, status) \
    slot(DIAGNOSTICS, carried) slot(DIAGNOSTICS, counting) slot(DIAGNOSTICS, found_rows) \
    slot(DIAGNOSTICS, found_rows_here) slot(DIAGNOSTICS, remarks) slot(DIAGNOSTICS, row_count) \
    slot(STATEMENTS, by_id) \
    slot(STATEMENT, again) slot(STATEMENT, again_at) slot(STATEMENT, key) slot(STATEMENT, told) \
    slot(STATEMENT, traits) \
    slot(AGAIN, _statement) \
    slot(BEHIND, last) slot(BEHIND, left) \
    slot(PINS, logged) \
    slot(CONNECTION, borrower) slot(CONNECTION, copies) slot(CONNECTION, has_attributes) slot(CONNECTION, key) \
    slot(CONNECTION, last_borrower) slot(CONNECTION, left) slot(CONNECTION, pool) slot(CONNECTION, reply) \
    slot(CONNECTION, state) slot(CONNECTION, used) slot(CONNECTION, write) \
    slot(REPLY, _form) slot(REPLY, _fresh) slot(REPLY, _marked) slot(REPLY, packets) slot(REPLY, plain) \
    slot(REPLY, row_count) slot(REPLY, state) slot(REPLY, status) slot(REPLY, warnings) \
    slot(FORM, eof) slot(FORM, telling) \
    slot(TELLING, due) \
    slot(COPIES, _copies) \
    slot(COPY, id) slot(COPY, told) \
    slot(ROUTE, take) slot(ROUTE, wait) \
    slot(POOL, _books) slot(POOL, _deadlines) slot(POOL, _left) slot(POOL, _seconds) slot(POOL, _timeout) \
    slot(POOL, counts) slot(POOL, spares) \
    slot(COUNTS, waits) \
    slot(DURATIONS, counts) slot(DURATIONS, total) \
    slot(DEADLINES, alarm) \
    slot(SPARES, due) \
    slot(BOOKS, _shelves) slot(BOOKS, _waiting) slot(BOOKS, limit) slot(BOOKS, total) \
    slot(SHELF, opening) slot(SHELF, waiting)

#define SLOT_ENUMERATED(type, name) type##_##name,
enum { SLOTS(SLOT_ENUMERATED) SLOTS_COUNTED };

extern PyTypeObject *types[TYPES];
extern Py_ssize_t offsets[SLOTS_COUNTED];

/* A borrowed reference. All of these slots are assigned where the object is made, but for a connection's pool, which is
   before it is lent; and none is ever deleted. */
#define GET(object, slot) (*(PyObject **)((char *)(object) + offsets[slot]))

/* Is it of this very type? An object of another one, such as a test's, is left to Python. */
static inline int
is(PyObject *object, int type)
{
    return object != NULL && Py_TYPE(object) == types[type];
}

/* Assign; takes over the reference to `value`. */
static inline void
put(PyObject *object, int slot, PyObject *value)
{
    PyObject *old = GET(object, slot);

    GET(object, slot) = value;
    Py_XDECREF(old);
}

static inline void
put_bool(PyObject *object, int slot, int value)
{
    put(object, slot, Py_NewRef(value ? Py_True : Py_False));
}

/* The value of an int, as far as it is one that fits; otherwise -1, as if all flags were set. */
static inline long
number(PyObject *value)
{
    int overflow;

    return value != NULL && PyLong_Check(value) ? PyLong_AsLongAndOverflow(value, &overflow) : -1;
}

int put_number(PyObject *object, int slot, long value);
int find_slots(PyObject *taken);

/* -- Python's (module.c) ----------------------------------------------------------------------------------------- */

#define NAMES(name) \
    name(_grant) name(_pump) name(_send) name(all_traits) name(asks_found_rows) name(borrowed) name(give_back) \
    name(lexer) name(move_to_end) name(on) name(popitem) name(ready) name(replied) name(run)

#define NAME_DECLARED(name) PyObject *name;
extern struct names { NAMES(NAME_DECLARED) } names;

/* What it is given besides the types; first the methods that have twins. */
#define GIVEN(given) \
    given(commands) given(granted) given(relayed) given(again_launch) given(command_of) given(execute) \
    given(give_back) given(take) given(uncounted) given(wait) given(whole) given(with_id) given(bounds)

extern struct given { GIVEN(NAME_DECLARED) } given;

extern PyObject *zero, *one;

/* Was it a success? Lets go of the result. */
static inline int
worked(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Is this the method `function` of an object of this type? */
static inline int
is_method(PyObject *method, PyObject *function, int type)
{
    return PyMethod_Check(method) && PyMethod_GET_FUNCTION(method) == function && is(PyMethod_GET_SELF(method), type);
}

/* -- the twins, and what they share ------------------------------------------------------------------------------ */

static inline int
has_session(PyObject *relay)
{
    PyObject *session = GET(relay, RELAY_session);

    return is(session, SESSION) && is(GET(session, SESSION_diagnostics), DIAGNOSTICS);
}

/* Is nothing of the session to be found on another connection? */
static inline int
has_left_nothing(PyObject *relay)
{
    PyObject *behind = GET(relay, RELAY_behind);

    return is(behind, BEHIND) && GET(behind, BEHIND_left) == Py_None;
}

/* sending.c */
void borrowed(PyObject *relay, PyObject *connection);
int send_command(PyObject *relay, PyObject *connection, PyObject *packets, PyObject *launch);
PyObject *granted(PyObject *relay, PyObject *connection);

/* lending.c */
PyObject *take_at_once(PyObject *route, PyObject *key, PyObject *state);
int wait_in_turn(PyObject *route, PyObject *relay, PyObject *key, PyObject *state);
int lend_to_next(PyObject *pool, PyObject *connection);

/* commands.c */
PyObject *commands(PyObject *client, PyObject *data);

/* replies.c */
PyObject *relayed(PyObject *connection, PyObject *data);

#endif
