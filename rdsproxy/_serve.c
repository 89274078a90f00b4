/* The compiled twin of the loop in hub.py, which states what it does. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define AT_ONCE 256
#define READ_SIZE 65536
#define AHEAD 262144

static PyObject *name_receive, *name_ended, *name_failed;

/* Tell a reader of the exception that is set. */
static int
tell_failed(PyObject *reader)
{
    PyObject *type, *value, *traceback, *done;

    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(value, traceback);
    done = PyObject_CallMethodOneArg(reader, name_failed, value);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

struct come {
    int fd;
    PyObject *reader;
    PyObject *data; /* NULL: it has ended */
};

static PyObject *
reader_of(PyObject *readers, int fd)
{
    PyObject *reader, *key = PyLong_FromLong(fd);

    if (key == NULL)
        return NULL;
    reader = PyDict_GetItemWithError(readers, key);
    Py_DECREF(key);
    return reader;
}

/* Read the sockets of events from `*each` on, until that is much; give how many have something. */
static int
read_some(PyObject *readers, struct epoll_event *events, int ready, int *each, struct come *come)
{
    char buffer[READ_SIZE];
    Py_ssize_t size, all = 0;
    int count = 0;

    while (*each < ready && all < AHEAD) {
        int fd = events[(*each)++].data.fd;
        PyObject *data = NULL, *reader = reader_of(readers, fd);
        if (reader == NULL) {
            if (PyErr_Occurred())
                break;
            continue;
        }
        size = recv(fd, buffer, READ_SIZE, MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            continue;
        if (size > 0) {
            data = PyBytes_FromStringAndSize(buffer, size);
            if (data == NULL)
                break;
            all += size;
        }
        come[count].fd = fd;
        come[count].reader = Py_NewRef(reader);
        come[count++].data = data;
    }
    return count;
}

/* Hand on what came for a reader, unless one before it has removed it. */
static int
hand_on(PyObject *readers, struct come *come)
{
    PyObject *receive, *done = NULL;

    if (reader_of(readers, come->fd) != come->reader)
        return PyErr_Occurred() ? -1 : 0;
    if (come->data == NULL) {
        done = PyObject_CallMethodNoArgs(come->reader, name_ended);
    } else {
        receive = PyObject_GetAttr(come->reader, name_receive);
        if (receive != NULL)
            done = PyObject_CallOneArg(receive, come->data);
        Py_XDECREF(receive);
    }
    if (done == NULL)
        return tell_failed(come->reader);
    Py_DECREF(done);
    return 0;
}

static PyObject *
serve(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    struct epoll_event events[AT_ONCE];
    struct come come[AT_ONCE];
    PyObject *readers;
    int epoll, wait, ready, each = 0;

    (void)module;
    if (count != 3 || !PyDict_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "serve() takes epoll, readers, wait");
        return NULL;
    }
    epoll = PyObject_AsFileDescriptor(args[0]);
    readers = args[1];
    wait = (int)PyLong_AsLong(args[2]);
    if (epoll < 0 || PyErr_Occurred())
        return NULL;
    if (wait) {
        Py_BEGIN_ALLOW_THREADS
        ready = epoll_wait(epoll, events, AT_ONCE, wait);
        Py_END_ALLOW_THREADS
    } else {
        ready = epoll_wait(epoll, events, AT_ONCE, 0);
    }
    if (ready < 0) {
        if (errno == EINTR)
            Py_RETURN_FALSE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    while (each < ready) {
        int next, failed = 0, came = read_some(readers, events, ready, &each, come);
        if (PyErr_Occurred())
            failed = -1;
        for (next = 0; next < came && !failed; next++) {
            if (come[next].data == NULL)
                failed = hand_on(readers, &come[next]);
        }
        for (next = 0; next < came; next++) {
            if (!failed && come[next].data != NULL)
                failed = hand_on(readers, &come[next]);
            Py_DECREF(come[next].reader);
            Py_XDECREF(come[next].data);
        }
        if (failed)
            return NULL;
    }
    return PyBool_FromLong(ready);
}

static PyMethodDef methods[] = {
    {"serve", (PyCFunction)(void (*)(void))serve, METH_FASTCALL, "See rdsproxy.hub."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_serve", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__serve(void)
{
    name_receive = PyUnicode_InternFromString("receive");
    name_ended = PyUnicode_InternFromString("read_ended");
    name_failed = PyUnicode_InternFromString("read_failed");
    if (name_receive == NULL || name_ended == NULL || name_failed == NULL)
        return NULL;
    return PyModule_Create(&module);
}
