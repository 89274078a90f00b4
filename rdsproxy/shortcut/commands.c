/* A command comes from a client: ClientConnection._commands, with what it calls. */

#include "twins.h"

#define FLAGS_AT (HEADER + 5)

/* Does anybody ask for FOUND_ROWS()? */
static int
asks_found_rows(PyObject *states)
{
    PyObject *watch = PyObject_GetAttr(states, names.asks_found_rows), *on;
    int result = -1;

    if (watch == NULL)
        return -1;
    on = PyObject_GetAttr(watch, names.on);
    Py_DECREF(watch);
    if (on != NULL)
        result = PyObject_IsTrue(on);
    Py_XDECREF(on);
    return result;
}

/* Need nothing be done before a command with these traits? */
static int
is_ordinary(PyObject *relay, PyObject *traits)
{
    PyObject *session = GET(relay, RELAY_session), *diagnostics = GET(session, SESSION_diagnostics);
    int asks;

    if (number(GET(session, SESSION_pins)) != 0 || GET(relay, RELAY_lost) != Py_None
        || GET(diagnostics, DIAGNOSTICS_carried) != Py_False)
        return 0;
    if (traits != given.uncounted)
        return number(traits) == 0;
    if (GET(relay, RELAY_connection) != Py_None && GET(diagnostics, DIAGNOSTICS_found_rows_here) == Py_True)
        return 1;
    asks = asks_found_rows(GET(session, SESSION_states));
    return asks < 0 ? -1 : !asks;
}

static int
note_command(PyObject *relay, PyObject *packets, PyObject *traits, PyObject *launch, int repeatable)
{
    PyObject *command = PyTuple_Pack(4, packets, zero, launch, repeatable ? Py_True : Py_False);

    if (command == NULL)
        return -1;
    put_bool(relay, RELAY_busy, 1);
    put(relay, RELAY_traits, Py_NewRef(traits));
    put(relay, RELAY__after_ok, Py_NewRef(Py_None));
    put(relay, RELAY_command, command);
    return 0;
}

/* On the connection that an open transaction holds. */
static int
run_on_held(PyObject *relay, PyObject *packets, PyObject *traits, PyObject *launch)
{
    PyObject *connection = Py_NewRef(GET(relay, RELAY_connection));
    int done = note_command(relay, packets, traits, launch, 0);

    if (done == 0) {
        put(connection, CONNECTION_last_borrower, Py_NewRef(relay));
        done = send_command(relay, connection, packets, launch);
    }
    Py_DECREF(connection);
    return done;
}

/* On one that is lent for it, now or later. */
static int
run_on_lent(PyObject *relay, PyObject *packets, PyObject *traits, PyObject *launch)
{
    PyObject *route = GET(relay, RELAY_route), *key = GET(relay, RELAY_key), *connection;
    PyObject *state = GET(GET(relay, RELAY_session), SESSION_state);
    int done;

    if (note_command(relay, packets, traits, launch, 1) < 0)
        return -1;
    connection = take_at_once(route, key, state);
    if (connection == NULL)
        return -1;
    if (connection == Py_None) {
        Py_DECREF(connection);
        put_bool(relay, RELAY_waiting, 1);
        return wait_in_turn(route, relay, key, state);
    }
    if (is(connection, CONNECTION)) {
        borrowed(relay, connection);
        done = send_command(relay, connection, packets, launch);
    } else {
        done = worked(PyObject_CallMethodOneArg(relay, names.borrowed, connection));
        if (done == 0)
            done = worked(PyObject_CallMethodObjArgs(relay, names._send, connection, packets, zero, launch, NULL));
    }
    Py_DECREF(connection);
    return done;
}

/* Relay.run, for a reply that begins in FIRST, and that nothing is to be done behind */
static int
run(PyObject *relay, PyObject *packets, PyObject *traits, PyObject *launch)
{
    int ordinary = is_ordinary(relay, traits);

    if (ordinary < 0)
        return -1;
    if (ordinary && is(GET(relay, RELAY_connection), CONNECTION))
        return run_on_held(relay, packets, traits, launch);
    if (ordinary && GET(relay, RELAY_connection) == Py_None && has_left_nothing(relay)
        && is(GET(relay, RELAY_route), ROUTE))
        return run_on_lent(relay, packets, traits, launch);
    return worked(PyObject_CallMethodObjArgs(relay, names.run, packets, zero, traits, Py_None, launch, NULL));
}

static int
count_query(PyObject *client)
{
    PyObject *more = PyNumber_Add(GET(client, CLIENT_queries), one);

    if (more == NULL)
        return -1;
    put(client, CLIENT_queries, more);
    return 0;
}

/* The part of the data from `start` on. */
static PyObject *
from(PyObject *data, Py_ssize_t start)
{
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + start, PyBytes_GET_SIZE(data) - start);
}

/* A COM_QUERY without attributes */
static int
query(PyObject *client, PyObject *relay, PyObject *data)
{
    PyObject *text, *lexer, *traits = NULL;
    int done = -1;

    if (count_query(client) < 0)
        return -1;
    lexer = PyObject_GetAttr(GET(GET(relay, RELAY_session), SESSION_state), names.lexer);
    if (lexer == NULL)
        return -1;
    text = from(data, HEADER + 1);
    if (text != NULL)
        traits = PyObject_CallMethodOneArg(lexer, names.all_traits, text);
    if (traits != NULL)
        done = run(relay, data, traits, Py_None);
    Py_XDECREF(traits);
    Py_XDECREF(text);
    Py_DECREF(lexer);
    return done;
}

/* The session's statement that an execution names, as far as that brings nothing new; NULL, maybe with an exception,
   otherwise. */
static PyObject *
statement_of(PyObject *relay, PyObject *data)
{
    PyObject *statements = GET(GET(relay, RELAY_session), SESSION_statements), *by_id, *id, *statement;
    const char *bytes = PyBytes_AS_STRING(data);
    long again_at;

    if (!is(statements, STATEMENTS) || PyBytes_GET_SIZE(data) <= FLAGS_AT)
        return NULL;
    by_id = GET(statements, STATEMENTS_by_id);
    if (!PyDict_Check(by_id))
        return NULL;
    id = PyBytes_FromStringAndSize(bytes + ID_AT, ID_SIZE);
    if (id == NULL)
        return NULL;
    statement = PyDict_GetItemWithError(by_id, id);
    Py_DECREF(id);
    if (!is(statement, STATEMENT))
        return NULL;
    again_at = number(GET(statement, STATEMENT_again_at));
    if (again_at < 0 || again_at >= PyBytes_GET_SIZE(data) - HEADER || bytes[HEADER + again_at] || bytes[FLAGS_AT])
        return NULL;
    return statement;
}

/* preparing.execute, of what brings nothing new. Gives 1 if it was that, 0 if not. */
static int
execute_again(PyObject *client, PyObject *relay, PyObject *data)
{
    PyObject *statement = statement_of(relay, data), *traits, *again;
    int done;

    if (statement == NULL)
        return PyErr_Occurred() ? -1 : 0;
    traits = Py_NewRef(GET(statement, STATEMENT_traits));
    again = Py_NewRef(GET(statement, STATEMENT_again));
    done = count_query(client);
    if (done == 0)
        done = run(relay, data, traits, again);
    Py_DECREF(traits);
    Py_DECREF(again);
    return done < 0 ? -1 : 1;
}

static int
handle(PyObject *client, PyObject *relay, PyObject *data, PyObject *handler)
{
    PyObject *payload, *done;
    int executed = handler == given.execute ? execute_again(client, relay, data) : 0;

    if (executed)
        return executed < 0 ? -1 : 0;
    payload = from(data, HEADER);
    if (payload == NULL)
        return -1;
    done = PyObject_CallFunctionObjArgs(handler, client, relay, data, payload, NULL);
    Py_DECREF(payload);
    return worked(done);
}

/* ClientConnection._commands */
PyObject *
commands(PyObject *client, PyObject *data)
{
    PyObject *relay = GET(client, CLIENT_relay), *buffer = GET(client, CLIENT__buffer);
    PyObject *handlers = GET(client, CLIENT__handlers);
    PyObject *found = PyObject_CallOneArg(given.command_of, data);
    long command = number(found);
    int done;

    if (worked(found) < 0)
        return NULL;
    if (command < 0 || !PyBytes_Check(data)
        || !is(relay, RELAY) || GET(relay, RELAY_busy) != Py_False || !has_session(relay)
        || !PyByteArray_Check(buffer) || PyByteArray_GET_SIZE(buffer) != 0
        || GET(client, CLIENT__large) != Py_None
        || !PyTuple_Check(handlers) || PyTuple_GET_SIZE(handlers) <= command)
        return PyObject_CallFunctionObjArgs(given.commands, client, data, NULL);
    Py_INCREF(relay);
    put(relay, RELAY_sequence, Py_NewRef(one));
    if (command == number(GET(client, CLIENT__plain_query)))
        done = query(client, relay, data);
    else
        done = handle(client, relay, data, PyTuple_GET_ITEM(handlers, command));
    Py_DECREF(relay);
    return done < 0 ? NULL : Py_NewRef(Py_None);
}
