/* A connection is waited for, and lent to who has waited longest: Pool.wait and Pool.give_back, with what they call. */

#include "twins.h"

/* The shelf of a key, if it is there; NULL, maybe with an exception, otherwise. */
static PyObject *
shelf_of(PyObject *books, PyObject *key)
{
    PyObject *shelf = NULL;

    if (is(books, BOOKS) && PyDict_Check(GET(books, BOOKS__shelves)))
        shelf = PyDict_GetItemWithError(GET(books, BOOKS__shelves), key);
    return is(shelf, SHELF) && PyODict_Check(GET(shelf, SHELF_waiting)) ? shelf : NULL;
}

/* Route.take: None at once where others wait, as Assignment.take says. */
PyObject *
take_at_once(PyObject *route, PyObject *key, PyObject *state)
{
    PyObject *take = Py_NewRef(GET(route, ROUTE_take)), *taken, *arguments[] = {NULL, key, state};

    if (is_method(take, given.take, BOOKS) && number(GET(PyMethod_GET_SELF(take), BOOKS__waiting)) > 0)
        taken = Py_NewRef(Py_None);
    else
        taken = PyObject_Vectorcall(take, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(take);
    return taken;
}

/* Pool.wait, with Assignment.wait, behind others of the same key; nothing happens by reading the clock. Gives 1 if it
   waits, 0 if something else is to be done. */
static int
wait_behind_others(PyObject *pool, PyObject *relay, PyObject *key, PyObject *state)
{
    PyObject *books = GET(pool, POOL__books), *deadlines = GET(pool, POOL__deadlines), *spares = GET(pool, POOL_spares);
    PyObject *shelf = shelf_of(books, key), *due, *now, *until;

    if (shelf == NULL || !is(deadlines, DEADLINES) || GET(deadlines, DEADLINES_alarm) == Py_None || !is(spares, SPARES))
        return PyErr_Occurred() ? -1 : 0;
    due = GET(spares, SPARES_due);
    if (!PyDict_Check(due) || PyDict_GET_SIZE(due) != 0 || PyDict_GET_SIZE(GET(shelf, SHELF_waiting)) == 0
        || number(GET(shelf, SHELF_opening)) != 0)
        return 0;
    now = PyObject_CallNoArgs(GET(pool, POOL__seconds));
    if (now == NULL)
        return -1;
    until = PyNumber_Add(now, GET(pool, POOL__timeout));
    Py_DECREF(now);
    if (until == NULL)
        return -1;
    put(relay, RELAY_until, until);
    if (put_number(books, BOOKS__waiting, number(GET(books, BOOKS__waiting)) + 1) < 0)
        return -1;
    return PyObject_SetItem(GET(shelf, SHELF_waiting), relay, state) < 0 ? -1 : 1;
}

/* Route.wait */
int
wait_in_turn(PyObject *route, PyObject *relay, PyObject *key, PyObject *state)
{
    PyObject *wait = Py_NewRef(GET(route, ROUTE_wait)), *arguments[] = {NULL, relay, key, state, Py_None};
    int waits = 0;

    if (is_method(wait, given.wait, POOL))
        waits = wait_behind_others(PyMethod_GET_SELF(wait), relay, key, state);
    if (waits == 0)
        waits = worked(PyObject_Vectorcall(wait, arguments + 1, 4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL));
    Py_DECREF(wait);
    return waits < 0 ? -1 : 0;
}

/* For several in a row: nothing is asked of Python while there is an exception. */
static double
as_double(PyObject *value)
{
    return PyErr_Occurred() ? -1.0 : PyFloat_AsDouble(value);
}

/* Durations.note */
static int
note(PyObject *durations, double seconds)
{
    PyObject *counts = GET(durations, DURATIONS_counts), *sum;
    double total = as_double(GET(durations, DURATIONS_total));
    Py_ssize_t bucket = 0;

    while (bucket < PyTuple_GET_SIZE(given.bounds) && as_double(PyTuple_GET_ITEM(given.bounds, bucket)) < seconds)
        bucket++;
    if (PyErr_Occurred())
        return -1;
    sum = PySequence_GetItem(counts, bucket);
    if (sum != NULL)
        Py_SETREF(sum, PyNumber_Add(sum, one));
    if (sum == NULL || PySequence_SetItem(counts, bucket, sum) < 0) {
        Py_XDECREF(sum);
        return -1;
    }
    Py_DECREF(sum);
    sum = PyFloat_FromDouble(total + seconds);
    if (sum == NULL)
        return -1;
    put(durations, DURATIONS_total, sum);
    return 0;
}

/* Pool._grant */
static int
grant(PyObject *pool, PyObject *durations, PyObject *relay, PyObject *connection)
{
    PyObject *now = PyObject_CallNoArgs(GET(pool, POOL__seconds));
    double seconds;

    if (now == NULL)
        return -1;
    seconds = as_double(now) - as_double(GET(relay, RELAY_until)) + as_double(GET(pool, POOL__timeout));
    Py_DECREF(now);
    if (PyErr_Occurred() || note(durations, seconds) < 0)
        return -1;
    return worked(granted(relay, connection));
}

/* Take the first out of the queue: a pair of who waits and the state that is wanted. */
static PyObject *
first_of(PyObject *waiting)
{
    static PyObject *last;
    PyObject *popitem, *pair, *arguments[] = {NULL, Py_False};

    if (last == NULL && (last = Py_BuildValue("(s)", "last")) == NULL)
        return NULL;
    popitem = PyObject_GetAttr(waiting, names.popitem);
    if (popitem == NULL)
        return NULL;
    pair = PyObject_Vectorcall(popitem, arguments + 1, 0 | PY_VECTORCALL_ARGUMENTS_OFFSET, last);
    Py_DECREF(popitem);
    return pair;
}

/* Pool.give_back, with Assignment.give_back, where all who wait want this key. Gives 1 if it is lent again, 0 if
   something else is to be done. */
static int
lend_to_first(PyObject *pool, PyObject *connection)
{
    PyObject *books = GET(pool, POOL__books), *counts = GET(pool, POOL_counts), *durations, *shelf, *pair, *waiter;
    long waiting;
    int done;

    if (GET(pool, POOL__left) != Py_None || !is(counts, COUNTS))
        return 0;
    durations = GET(counts, COUNTS_waits);
    shelf = shelf_of(books, GET(connection, CONNECTION_key));
    if (shelf == NULL || !is(durations, DURATIONS))
        return PyErr_Occurred() ? -1 : 0;
    waiting = number(GET(books, BOOKS__waiting));
    if (waiting <= 0 || waiting != PyDict_GET_SIZE(GET(shelf, SHELF_waiting))
        || number(GET(books, BOOKS_total)) > number(GET(books, BOOKS_limit)))
        return 0;
    put(connection, CONNECTION_borrower, Py_NewRef(Py_None));
    pair = first_of(GET(shelf, SHELF_waiting));
    if (pair == NULL)
        return -1;
    waiter = PyTuple_GET_ITEM(pair, 0);
    done = put_number(books, BOOKS__waiting, waiting - 1);
    if (done == 0 && is(waiter, RELAY))
        done = grant(pool, durations, waiter, connection);
    else if (done == 0)
        done = worked(PyObject_CallMethodObjArgs(pool, names._grant, waiter, connection, NULL));
    Py_DECREF(pair);
    return done < 0 ? -1 : 1;
}

/* Pool.give_back */
int
lend_to_next(PyObject *pool, PyObject *connection)
{
    int lent = is(pool, POOL) ? lend_to_first(pool, connection) : 0;

    if (lent == 0)
        return worked(PyObject_CallMethodOneArg(pool, names.give_back, connection));
    return lent < 0 ? -1 : 0;
}
