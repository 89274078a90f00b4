/* The compiled twin of the class in sender.py, which states what it does. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>
#include <sys/socket.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *otherwise;
    int fd;
} Sender;

/* Have what is left of `data` sent otherwise. */
static PyObject *
leave(Sender *self, PyObject *data, Py_ssize_t sent)
{
    PyObject *left, *done;

    if (sent <= 0)
        return PyObject_CallOneArg(self->otherwise, data);
    left = PySequence_GetSlice(data, sent, PY_SSIZE_T_MAX);
    if (left == NULL)
        return NULL;
    done = PyObject_CallOneArg(self->otherwise, left);
    Py_DECREF(left);
    return done;
}

static PyObject *
sender_call(PyObject *callable, PyObject *const *args, size_t count, PyObject *names)
{
    Sender *self = (Sender *)callable;
    Py_buffer view;
    Py_ssize_t sent, size;

    if (PyVectorcall_NARGS(count) != 1 || (names != NULL && PyTuple_GET_SIZE(names))) {
        PyErr_SetString(PyExc_TypeError, "a Sender takes data");
        return NULL;
    }
    if (self->fd < 0)
        return PyObject_CallOneArg(self->otherwise, args[0]);
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE))
        return NULL;
    size = view.len;
    sent = send(self->fd, view.buf, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    PyBuffer_Release(&view);
    if (sent == size)
        Py_RETURN_NONE;
    self->fd = -1;
    return leave(self, args[0], sent);
}

static PyObject *
sender_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *otherwise;
    Sender *self;

    (void)keywords;
    if (!PyArg_ParseTuple(args, "O", &otherwise))
        return NULL;
    self = (Sender *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->call = sender_call;
    self->otherwise = Py_NewRef(otherwise);
    self->fd = -1;
    return (PyObject *)self;
}

static int
sender_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((Sender *)self)->otherwise);
    return 0;
}

static int
sender_clear(PyObject *self)
{
    /* Never NULL: it may yet be called by what is cleared after it. */
    PyObject *otherwise = ((Sender *)self)->otherwise;

    ((Sender *)self)->otherwise = Py_NewRef(Py_None);
    Py_XDECREF(otherwise);
    return 0;
}

static void
sender_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Py_XDECREF(((Sender *)self)->otherwise);
    Py_TYPE(self)->tp_free(self);
}

static PyMemberDef members[] = {
    {"fd", T_INT, offsetof(Sender, fd), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject sender_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "rdsproxy._sender.Sender",
    .tp_basicsize = sizeof(Sender),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Sender, call),
    .tp_call = PyVectorcall_Call,
    .tp_new = sender_new,
    .tp_traverse = sender_traverse,
    .tp_clear = sender_clear,
    .tp_dealloc = sender_dealloc,
    .tp_members = members,
    .tp_doc = "See rdsproxy.sender.",
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_sender", NULL, 0, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__sender(void)
{
    PyObject *made = PyModule_Create(&module);

    if (made != NULL && PyModule_AddType(made, &sender_type) < 0)
        Py_CLEAR(made);
    return made;
}
