/* The compiled twins of the loop and of `send` in hub.py, which states what they do. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define AT_ONCE 256
#define READ_SIZE 65536

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

/* Read one socket and hand on what there is. */
static int
serve_one(PyObject *reader, int fd, char *buffer)
{
    PyObject *receive, *data, *done = NULL;
    Py_ssize_t size = recv(fd, buffer, READ_SIZE, MSG_DONTWAIT);

    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    if (size <= 0) {
        done = PyObject_CallMethodNoArgs(reader, name_ended);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    receive = PyObject_GetAttr(reader, name_receive);
    data = PyBytes_FromStringAndSize(buffer, size);
    if (receive != NULL && data != NULL)
        done = PyObject_CallOneArg(receive, data);
    Py_XDECREF(receive);
    Py_XDECREF(data);
    if (done == NULL)
        return tell_failed(reader);
    Py_DECREF(done);
    return 0;
}

static PyObject *
serve(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    struct epoll_event events[AT_ONCE];
    char buffer[READ_SIZE];
    PyObject *readers;
    int epoll, wait, ready, each;

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
    for (each = 0; each < ready; each++) {
        int failed, fd = events[each].data.fd;
        PyObject *reader, *key = PyLong_FromLong(fd);
        if (key == NULL)
            return NULL;
        reader = PyDict_GetItemWithError(readers, key);
        Py_DECREF(key);
        if (reader == NULL) {
            if (PyErr_Occurred())
                return NULL;
            continue;
        }
        Py_INCREF(reader);
        failed = serve_one(reader, fd, buffer);
        Py_DECREF(reader);
        if (failed)
            return NULL;
    }
    return PyBool_FromLong(ready);
}

static PyObject *
send_now(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    Py_ssize_t sent;
    int fd;

    (void)module;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "send() takes fd, data");
        return NULL;
    }
    fd = (int)PyLong_AsLong(args[0]);
    if (fd < 0 && PyErr_Occurred())
        return NULL;
    if (PyObject_GetBuffer(args[1], &view, PyBUF_SIMPLE))
        return NULL;
    sent = send(fd, view.buf, (size_t)view.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    PyBuffer_Release(&view);
    return PyLong_FromSsize_t(sent < 0 ? 0 : sent);
}

static PyMethodDef methods[] = {
    {"send", (PyCFunction)(void (*)(void))send_now, METH_FASTCALL, "See rdsproxy.hub."},
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
