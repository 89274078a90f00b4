/* A command goes out on a connection: Relay.granted, with what it calls. */

#include "twins.h"

/* DatabaseConnection.run, for a reply that begins in FIRST, with Reply.begin */
static int
run_on(PyObject *connection, PyObject *packets, PyObject *form)
{
    PyObject *reply = GET(connection, CONNECTION_reply), *write, *done;

    if (!is(reply, REPLY) || GET(reply, REPLY__marked) != Py_False
        || GET(connection, CONNECTION_has_attributes) != Py_False || PyBytes_GET_SIZE(packets) > MAX_PAYLOAD)
        return worked(PyObject_CallMethodObjArgs(connection, names.run, packets, zero, form, NULL));
    put(reply, REPLY_state, Py_NewRef(zero));
    put(reply, REPLY__form, Py_NewRef(form));
    put_bool(reply, REPLY__fresh, 1);
    put(reply, REPLY_packets, Py_NewRef(zero));
    write = Py_NewRef(GET(connection, CONNECTION_write));
    done = PyObject_CallOneArg(write, packets);
    Py_DECREF(write);
    return worked(done);
}

/* Copies.find; NULL without an exception where there is none. */
static PyObject *
find(PyObject *copies, PyObject *key)
{
    PyObject *kept = GET(copies, COPIES__copies), *copy;

    if (!PyDict_Check(kept))
        return NULL;
    copy = Py_XNewRef(PyDict_GetItemWithError(kept, key));
    if (copy != NULL && worked(PyObject_CallMethodOneArg(kept, names.move_to_end, key)) < 0)
        Py_CLEAR(copy);
    return copy;
}

/* Again.launch. Gives 1 if the command was sent, 0 if that takes more. */
static int
run_again(PyObject *relay, PyObject *connection, PyObject *packets, PyObject *again)
{
    PyObject *statement = GET(again, AGAIN__statement), *copies = GET(connection, CONNECTION_copies);
    PyObject *copy, *packet;
    int done;

    if (!is(statement, STATEMENT) || !is(copies, COPIES)
        || GET(connection, CONNECTION_has_attributes) != Py_False)
        return 0;
    copy = find(copies, GET(statement, STATEMENT_key));
    if (copy == NULL)
        return PyErr_Occurred() ? -1 : 0;
    if (!is(copy, COPY) || GET(copy, COPY_told) != GET(statement, STATEMENT_told)) {
        Py_DECREF(copy);
        return 0;
    }
    packet = PyObject_CallFunctionObjArgs(given.with_id, packets, GET(copy, COPY_id), NULL);
    Py_DECREF(copy);
    if (packet == NULL)
        return -1;
    done = run_on(connection, packet, GET(relay, RELAY_form));
    Py_DECREF(packet);
    return done < 0 ? -1 : 1;
}

/* Relay._send, for a reply that begins in FIRST. Whoever calls holds a reference to each of the four. */
int
send_command(PyObject *relay, PyObject *connection, PyObject *packets, PyObject *launch)
{
    int sent = 0;

    if (launch == Py_None)
        return run_on(connection, packets, GET(relay, RELAY_form));
    if (is_method(launch, given.again_launch, AGAIN))
        sent = run_again(relay, connection, packets, PyMethod_GET_SELF(launch));
    if (sent == 0)
        return worked(PyObject_CallFunctionObjArgs(launch, relay, connection, packets, NULL));
    return sent < 0 ? -1 : 0;
}

/* Relay.borrowed, where the session has left nothing: with Behind.arrived and Session.borrowed */
void
borrowed(PyObject *relay, PyObject *connection)
{
    PyObject *session = GET(relay, RELAY_session);

    put(relay, RELAY_connection, Py_NewRef(connection));
    put(connection, CONNECTION_borrower, Py_NewRef(relay));
    put(connection, CONNECTION_last_borrower, Py_NewRef(relay));
    put_bool(connection, CONNECTION_used, 1);
    put_bool(session, SESSION_insert_id_here, number(GET(session, SESSION_insert_id)) == 0);
    put_bool(session, SESSION_insert_id_moved, 0);
    put_bool(GET(session, SESSION_diagnostics), DIAGNOSTICS_found_rows_here, 0);
}

/* Relay.granted */
PyObject *
granted(PyObject *relay, PyObject *connection)
{
    PyObject *command = GET(relay, RELAY_command), *session = GET(relay, RELAY_session);
    int sent;

    if (!is(connection, CONNECTION) || !has_session(relay) || !has_left_nothing(relay)
        || !PyTuple_Check(command) || PyTuple_GET_SIZE(command) != 4
        || !PyBytes_Check(PyTuple_GET_ITEM(command, 0)) || number(PyTuple_GET_ITEM(command, 1)) != FIRST
        || GET(connection, CONNECTION_state) != GET(session, SESSION_state)
        || GET(connection, CONNECTION_left) != Py_None)
        return PyObject_CallFunctionObjArgs(given.granted, relay, connection, NULL);
    Py_INCREF(command);
    put_bool(relay, RELAY_waiting, 0);
    borrowed(relay, connection);
    sent = send_command(relay, connection, PyTuple_GET_ITEM(command, 0), PyTuple_GET_ITEM(command, 2));
    Py_DECREF(command);
    return sent < 0 ? NULL : Py_NewRef(Py_None);
}
