/* The compiled twins of the loops in walk.py, which states what they do. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#define HEADER 4
#define FULL 0xFFFFFF

static Py_ssize_t
length_at(const unsigned char *header)
{
    return header[0] | header[1] << 8 | header[2] << 16;
}

/* Step over ordinary whole packets; see walk_python. */
static Py_ssize_t
step(unsigned char *bytes, Py_ssize_t *position, Py_ssize_t end, int shift, Py_ssize_t limit)
{
    Py_ssize_t walked = 0, at = *position;

    while (walked != limit && end - at > HEADER) {
        unsigned char *header = bytes + at;
        Py_ssize_t length = length_at(header);
        if (length > end - at - HEADER || length == 0 || length == FULL || header[HEADER] >= 0xFE)
            break;
        if (shift)
            header[3] = (unsigned char)(header[3] + shift);
        at += HEADER + length;
        walked++;
    }
    *position = at;
    return walked;
}

static PyObject *
walk(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    Py_ssize_t position, end, limit, walked = 0;
    long shift;

    (void)module;
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "walk() takes buffer, position, end, shift, limit");
        return NULL;
    }
    position = PyLong_AsSsize_t(args[1]);
    end = PyLong_AsSsize_t(args[2]);
    shift = PyLong_AsLong(args[3]);
    limit = PyLong_AsSsize_t(args[4]);
    if (PyErr_Occurred())
        return NULL;
    if (PyObject_GetBuffer(args[0], &view, (shift & 0xFF) ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0)
        return NULL;
    if (end > view.len)
        end = view.len;
    if (position >= 0)
        walked = step(view.buf, &position, end, (int)(shift & 0xFF), limit);
    PyBuffer_Release(&view);
    return Py_BuildValue("nn", position, walked);
}

static void
put_eof(unsigned char *out, unsigned char sequence, unsigned warnings, unsigned status)
{
    out[0] = 5;
    out[1] = out[2] = 0;
    out[3] = sequence;
    out[4] = 0xFE;
    out[5] = (unsigned char)warnings;
    out[6] = (unsigned char)(warnings >> 8);
    out[7] = (unsigned char)status;
    out[8] = (unsigned char)(status >> 8);
}

#define EOF_SIZE 9
#define OK_SIZE 11         /* an OK of small numbers, without insert id, with its header */
#define UNUSUAL 0x4048     /* state changed, cursor exists, more results */
#define LASTING 0xA203

/* Adapt a reply that is all there and simple; see whole_python. */
static PyObject *
whole(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *data, *final;
    unsigned char *out;
    Py_ssize_t size, position, columns, rows;
    unsigned status, warnings;
    long before;
    int eof;
    PyObject *result, *pair;

    (void)module;
    if (count != 3 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "whole() takes bytes, eof, status");
        return NULL;
    }
    data = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    size = PyBytes_GET_SIZE(args[0]);
    eof = PyObject_IsTrue(args[1]);
    before = PyLong_AsLong(args[2]);
    if (eof < 0 || (before == -1 && PyErr_Occurred()))
        return NULL;

    if (size < OK_SIZE)
        Py_RETURN_NONE;
    final = data + size - OK_SIZE;
    if (length_at(final) != OK_SIZE - HEADER || final[6])
        Py_RETURN_NONE;
    status = final[7] | final[8] << 8;
    warnings = final[9] | final[10] << 8;
    if (status & UNUSUAL)
        Py_RETURN_NONE;
    if (size == OK_SIZE) {
        if (final[4] != 0x00 || final[5] >= 0xFB)
            Py_RETURN_NONE;
        return Py_BuildValue("Oiini", args[0], (int)status, (int)warnings, (Py_ssize_t)1, (int)final[5]);
    }
    /* A column count of one byte, that many definitions, rows, and an OK in the place of an EOF. */
    if (final[4] != 0xFE || final[5] || length_at(data) != 1 || data[4] == 0 || data[4] >= 0xFB)
        Py_RETURN_NONE;
    columns = data[4];
    position = 5;
    if (step((unsigned char *)data, &position, size - OK_SIZE, 0, columns) != columns)
        Py_RETURN_NONE;
    if (!eof) {
        rows = step((unsigned char *)data, &position, size - OK_SIZE, 0, -1);
        if (position != size - OK_SIZE)
            Py_RETURN_NONE;
        return Py_BuildValue("Oiinn", args[0], (int)status, (int)warnings, columns + rows + 2, -2 - rows);
    }
    result = PyBytes_FromStringAndSize(NULL, size - OK_SIZE + 2 * EOF_SIZE);
    if (result == NULL)
        return NULL;
    out = (unsigned char *)PyBytes_AS_STRING(result);
    memcpy(out, data, position);
    put_eof(out + position, (unsigned char)(columns + 2), 0, (unsigned)before & LASTING);
    memcpy(out + position + EOF_SIZE, data + position, size - OK_SIZE - position);
    position += EOF_SIZE;
    rows = step(out, &position, size - OK_SIZE + EOF_SIZE, 1, -1);
    if (position != size - OK_SIZE + EOF_SIZE) {
        Py_DECREF(result);
        Py_RETURN_NONE;
    }
    put_eof(out + position, (unsigned char)(columns + rows + 3), warnings, status);
    pair = Py_BuildValue("Niinn", result, (int)status, (int)warnings, columns + rows + 2, -2 - rows);
    return pair;
}

static PyObject *
command_of(PyObject *module, PyObject *data)
{
    const unsigned char *bytes;
    Py_ssize_t size;

    (void)module;
    if (!PyBytes_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "command_of() takes bytes");
        return NULL;
    }
    bytes = (const unsigned char *)PyBytes_AS_STRING(data);
    size = PyBytes_GET_SIZE(data) - HEADER;
    if (size <= 0 || size >= FULL || length_at(bytes) != size || bytes[3])
        return PyLong_FromLong(-1);
    return PyLong_FromLong(bytes[HEADER]);
}

#define ID_AT (HEADER + 1) /* behind the command */
#define ID_SIZE 4

static PyObject *
with_id(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *packet;

    (void)module;
    if (count != 2 || !PyBytes_Check(args[0]) || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "with_id() takes packet, statement_id");
        return NULL;
    }
    if (PyBytes_GET_SIZE(args[0]) < ID_AT + ID_SIZE || PyBytes_GET_SIZE(args[1]) != ID_SIZE) {
        PyErr_SetString(PyExc_ValueError, "no command on a prepared statement");
        return NULL;
    }
    packet = PyBytes_FromStringAndSize(PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0]));
    if (packet != NULL)
        memcpy(PyBytes_AS_STRING(packet) + ID_AT, PyBytes_AS_STRING(args[1]), ID_SIZE);
    return packet;
}

static PyMethodDef methods[] = {
    {"command_of", command_of, METH_O, "See rdsproxy.protocol.walk."},
    {"walk", (PyCFunction)(void (*)(void))walk, METH_FASTCALL, "See rdsproxy.protocol.walk."},
    {"whole", (PyCFunction)(void (*)(void))whole, METH_FASTCALL, "See rdsproxy.protocol.walk."},
    {"with_id", (PyCFunction)(void (*)(void))with_id, METH_FASTCALL, "See rdsproxy.protocol.walk."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_walk", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__walk(void)
{
    return PyModule_Create(&module);
}
