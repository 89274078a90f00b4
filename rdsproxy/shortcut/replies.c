/* A reply comes from a database: DatabaseConnection._relay, with what it calls. */

#include "twins.h"

#define IN_TRANSACTION 0x2001 /* of any kind */

/* ClientConnection.ready */
static int
ready(PyObject *client)
{
    PyObject *buffer, *now;

    /* A client that compresses has another one. */
    if (!is(client, CLIENT) || GET(client, CLIENT__compressing) != Py_None)
        return worked(PyObject_CallMethodNoArgs(client, names.ready));
    now = PyObject_CallNoArgs(GET(client, CLIENT__seconds));
    if (now == NULL)
        return -1;
    put(client, CLIENT__last_used, now);
    buffer = GET(client, CLIENT__buffer);
    if (PyByteArray_Check(buffer) && PyByteArray_GET_SIZE(buffer) == 0)
        return 0;
    return worked(PyObject_CallMethodNoArgs(client, names._pump));
}

/* returning.give_back, in the session's state, where neither warnings nor an insert id are left */
static int
give_back(PyObject *relay, PyObject *connection)
{
    PyObject *session = GET(relay, RELAY_session), *diagnostics = GET(session, SESSION_diagnostics);
    PyObject *pin_log = GET(relay, RELAY_pin_log), *pool = GET(connection, CONNECTION_pool);
    int done;

    if (!has_left_nothing(relay) || GET(diagnostics, DIAGNOSTICS_found_rows) == Py_None
        || GET(relay, RELAY_slow_client) != Py_False || !is(pin_log, PINS) || number(GET(pin_log, PINS_logged)) != 0)
        return worked(PyObject_CallFunctionObjArgs(given.give_back, relay, connection, NULL));
    put(relay, RELAY_connection, Py_NewRef(Py_None));
    put(connection, CONNECTION_state, Py_NewRef(GET(session, SESSION_state)));
    put(GET(relay, RELAY_behind), BEHIND_last, Py_NewRef(connection));
    Py_INCREF(pool);
    done = lend_to_next(pool, connection);
    Py_DECREF(pool);
    return done;
}

/* What a plain reply tells of the numbers of rows. */
static int
note_rows(PyObject *diagnostics, PyObject *row_count, int uncounted)
{
    long count = number(row_count);

    put(diagnostics, DIAGNOSTICS_row_count, Py_NewRef(row_count));
    if (uncounted) {
        put(diagnostics, DIAGNOSTICS_found_rows, Py_NewRef(Py_None));
        put_bool(diagnostics, DIAGNOSTICS_counting, 0);
    } else if (count < -1) {
        if (put_number(diagnostics, DIAGNOSTICS_found_rows, -2 - count) < 0) /* walk.rows_told */
            return -1;
        put_bool(diagnostics, DIAGNOSTICS_found_rows_here, 1);
    }
    return 0;
}

/* Relay.replied */
static int
replied(PyObject *relay, PyObject *connection, PyObject *reply)
{
    PyObject *session = GET(relay, RELAY_session), *traits = GET(relay, RELAY_traits), *client;
    long status = number(GET(reply, REPLY_status));
    int done, uncounted = traits == given.uncounted;

    if (GET(relay, RELAY_connection) != connection || GET(reply, REPLY_plain) != Py_True || !has_session(relay)
        || number(GET(session, SESSION_pins)) != 0 || GET(relay, RELAY__after_ok) != Py_None
        || (number(traits) != 0 && !uncounted)
        || GET(GET(session, SESSION_diagnostics), DIAGNOSTICS_remarks) != Py_False
        || GET(session, SESSION_insert_id_moved) != Py_False)
        return worked(PyObject_CallMethodNoArgs(relay, names.replied));
    put(session, SESSION_status, Py_NewRef(GET(reply, REPLY_status)));
    if (note_rows(GET(session, SESSION_diagnostics), GET(reply, REPLY_row_count), uncounted) < 0)
        return -1;
    if (!(status & IN_TRANSACTION) && give_back(relay, connection) < 0)
        return -1;
    put_bool(relay, RELAY_busy, 0);
    put(relay, RELAY_command, Py_NewRef(Py_None));
    client = Py_NewRef(GET(relay, RELAY_client));
    done = ready(client);
    Py_DECREF(client);
    return done;
}

/* The beginning of Reply.feed: take a reply that is whole and simple. Gives what the client gets of it; NULL, maybe
   with an exception, if it is none. */
static PyObject *
take_whole(PyObject *reply, PyObject *data)
{
    PyObject *form = GET(reply, REPLY__form), *telling, *simple, *out = NULL;

    if (!is(form, FORM) || number(GET(reply, REPLY_state)) == DONE || GET(reply, REPLY__fresh) != Py_True)
        return NULL;
    telling = GET(form, FORM_telling);
    if (telling != Py_None && (!is(telling, TELLING) || GET(telling, TELLING_due) != Py_False))
        return NULL;
    simple = PyObject_CallFunctionObjArgs(given.whole, data, GET(form, FORM_eof), GET(reply, REPLY_status), NULL);
    /* The client's part, status flags, warnings, packets, rows. */
    if (simple != NULL && PyTuple_Check(simple) && PyTuple_GET_SIZE(simple) == 5
        && put_number(reply, REPLY_state, DONE) == 0) {
        out = Py_NewRef(PyTuple_GET_ITEM(simple, 0));
        put(reply, REPLY_status, Py_NewRef(PyTuple_GET_ITEM(simple, 1)));
        put(reply, REPLY_warnings, Py_NewRef(PyTuple_GET_ITEM(simple, 2)));
        put(reply, REPLY_packets, Py_NewRef(PyTuple_GET_ITEM(simple, 3)));
        put(reply, REPLY_row_count, Py_NewRef(PyTuple_GET_ITEM(simple, 4)));
        put_bool(reply, REPLY_plain, number(PyTuple_GET_ITEM(simple, 2)) == 0);
    }
    Py_XDECREF(simple);
    return out;
}

/* DatabaseConnection._relay */
PyObject *
relayed(PyObject *connection, PyObject *data)
{
    PyObject *reply = GET(connection, CONNECTION_reply), *relay = GET(connection, CONNECTION_borrower), *out, *deliver;
    int done;

    out = is(reply, REPLY) && is(relay, RELAY) ? take_whole(reply, data) : NULL;
    if (out == NULL)
        return PyErr_Occurred() ? NULL : PyObject_CallFunctionObjArgs(given.relayed, connection, data, NULL);
    Py_INCREF(reply);
    Py_INCREF(relay);
    deliver = Py_NewRef(GET(relay, RELAY_deliver));
    done = worked(PyObject_CallOneArg(deliver, out));
    Py_DECREF(deliver);
    Py_DECREF(out);
    if (done == 0)
        done = replied(relay, connection, reply);
    Py_DECREF(relay);
    Py_DECREF(reply);
    return done < 0 ? NULL : Py_NewRef(Py_None);
}
