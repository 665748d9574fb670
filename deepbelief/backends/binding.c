/* The Python module `_loops`: the functions of loops.c, which take arrays and numbers by position.

A call takes a fifth of the time of one through ctypes, and an update of a minibatch makes a dozen of them. Arrays come by
the buffer protocol, and other threads of Python run meanwhile. Sizes and dtypes are not checked: loops.py does that. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "loops.c"

#define MOST_ARGUMENTS 16

typedef union {
    void *p;
    int64_t n;
    double d;
} Argument;

/* Convert an object as a letter says: r, an array or None; w, an array that is written; a, an address or None; n, an
   integer; d, a number. Returns -1 with an exception if that is impossible; `view` holds the buffer of an array. */
static int convert(char letter, PyObject *object, Argument *to, Py_buffer *view) {
    view->obj = 0;
    to->p = 0;
    if (letter == 'n')
        to->n = PyLong_AsLongLong(object);
    else if (letter == 'd')
        to->d = PyFloat_AsDouble(object);
    else if (letter == 'a' && object != Py_None)
        to->p = PyLong_AsVoidPtr(object);
    else if (object != Py_None) {
        if (PyObject_GetBuffer(object, view, letter == 'w' ? PyBUF_WRITABLE : PyBUF_SIMPLE)) return -1;
        to->p = view->buf;
        return 0;
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* Convert the arguments, and call a function without the lock of the interpreter. */
static int call(const char *letters, void (*function)(Argument *), PyObject *const *objects, Py_ssize_t n,
                Argument *arguments) {
    Py_buffer views[MOST_ARGUMENTS];
    Py_ssize_t held = 0;
    int failed = n != (Py_ssize_t)strlen(letters);
    if (failed) PyErr_Format(PyExc_TypeError, "%zd arguments, not %zd", (Py_ssize_t)strlen(letters), n);
    for (; !failed && held < n; held++) failed = convert(letters[held], objects[held], arguments + held, views + held);
    if (!failed) {
        Py_BEGIN_ALLOW_THREADS
        function(arguments);
        Py_END_ALLOW_THREADS
    }
    while (held--) PyBuffer_Release(views + held); /* does nothing for one that holds no array */
    return failed ? -1 : 0;
}

#define P(i) a[i].p
#define N(i) a[i].n
#define D(i) a[i].d

/* Each function, the letters of its arguments, and the arguments. */
#define LOOPS(F)                                                                                                       \
    F(follow, "aa", P(0), P(1))                                                                                        \
    F(slots, "wn", P(0), N(1))                                                                                         \
    F(sigmoid, "wrnn", P(0), P(1), N(2), N(3))                                                                         \
    F(sample, "rrwnn", P(0), P(1), P(2), N(3), N(4))                                                                   \
    F(sample_of_sigmoid, "wrrwnnn", P(0), P(1), P(2), P(3), N(4), N(5), N(6))                                          \
    F(sigmoid_backward, "rrwn", P(0), P(1), P(2), N(3))                                                                \
    F(gather, "rrwnnn", P(0), P(1), P(2), N(3), N(4), N(5))                                                            \
    F(weigh, "wrwnn", P(0), P(1), P(2), N(3), N(4))                                                                    \
    F(softmax, "wrrwnnn", P(0), P(1), P(2), P(3), N(4), N(5), N(6))                                                    \
    F(one_hot, "rrrwnnn", P(0), P(1), P(2), P(3), N(4), N(5), N(6))                                                    \
    F(momentum_step, "wwrddddn", P(0), P(1), P(2), D(3), D(4), D(5), D(6), N(7))                                       \
    F(settle, "wwdn", P(0), P(1), D(2), N(3))                                                                          \
    F(adam_step, "wwwrdddddddn", P(0), P(1), P(2), P(3), D(4), D(5), D(6), D(7), D(8), D(9), D(10), N(11))             \
    F(log_odds_of_rows, "rrrwwwnnn", P(0), P(1), P(2), P(3), P(4), P(5), N(6), N(7), N(8))                             \
    F(log_odds_of_row, "rrrwwnn", P(0), P(1), P(2), P(3), P(4), N(5), N(6))                                            \
    F(softplus_sums, "rwnnn", P(0), P(1), N(2), N(3), N(4))                                                            \
    F(weighted_sums, "rrwnn", P(0), P(1), P(2), N(3), N(4))                                                            \
    F(softplus_changes, "wrnddwnn", P(0), P(1), N(2), D(3), D(4), P(5), N(6), N(7))                                    \
    F(fill, "wrn", P(0), P(1), N(2))                                                                                   \
    F(column_statistics, "rwwwwwwnn", P(0), P(1), P(2), P(3), P(4), P(5), P(6), N(7), N(8))                            \
    F(add_product_32, "rrrdrwwnnnn", P(0), P(1), P(2), D(3), P(4), P(5), P(6), N(7), N(8), N(9), N(10))                \
    F(add_product_64, "rrrdrwwnnnn", P(0), P(1), P(2), D(3), P(4), P(5), P(6), N(7), N(8), N(9), N(10))

/* The same for functions that return an integer. */
#define NUMBERS(F) F(loop_threads, "")

#ifdef HAS_PRODUCTS
#define PRODUCTS(F)                                                                                                    \
    F(multiply, "rrwwnnn", P(0), P(1), P(2), P(3), N(4), N(5), N(6))                                                   \
    F(multiply_by_transposed, "rrwnnn", P(0), P(1), P(2), N(3), N(4), N(5))                                            \
    F(step_by_tiles, "rrwwwwddddnnn", P(0), P(1), P(2), P(3), P(4), P(5), D(6), D(7), D(8), D(9), N(10), N(11), N(12))
#define PRODUCT_NUMBERS(F) F(multiplies, "")
#else
#define PRODUCTS(F)
#define PRODUCT_NUMBERS(F)
#endif

#ifdef HAS_ROUNDED
#define ROUNDED_PRODUCTS(F)                                                                                            \
    F(multiply_rounded, "nrnrnwnwwnnndd", N(0), P(1), N(2), P(3), N(4), P(5), N(6), P(7), P(8), N(9), N(10), N(11),    \
      D(12), D(13))                                                                                                    \
    F(step_rounded, "nrrwwwnddddnnn", N(0), P(1), P(2), P(3), P(4), P(5), N(6), D(7), D(8), D(9), D(10), N(11), N(12), \
      N(13))
#define ROUNDED_NUMBERS(F) F(allow_rounded, "n", N(0))
#else
#define ROUNDED_PRODUCTS(F)
#define ROUNDED_NUMBERS(F)
#endif

#define FUNCTION(name, letters, ...)                                                                                   \
    static void call_##name(Argument *a) { name(__VA_ARGS__); }                                                        \
    static PyObject *py_##name(PyObject *module, PyObject *const *objects, Py_ssize_t n) {                             \
        Argument a[MOST_ARGUMENTS];                                                                                    \
        (void)module;                                                                                                  \
        if (call(letters, call_##name, objects, n, a)) return 0;                                                       \
        Py_INCREF(Py_None);                                                                                            \
        return Py_None;                                                                                                \
    }
#define NUMBER(name, letters, ...)                                                                                     \
    static void call_##name(Argument *a) { a[0].n = name(__VA_ARGS__); }                                               \
    static PyObject *py_##name(PyObject *module, PyObject *const *objects, Py_ssize_t n) {                             \
        Argument a[MOST_ARGUMENTS];                                                                                    \
        (void)module;                                                                                                  \
        return call(letters, call_##name, objects, n, a) ? 0 : PyLong_FromLongLong(a[0].n);                            \
    }
#define METHOD(name, ...) {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, 0},

/* Return whether arrays have the dtype of a letter, and values that are contiguous, by rows, and aligned. */
static PyObject *py_are_plain(PyObject *module, PyObject *const *objects, Py_ssize_t n) {
    Py_buffer view;
    int plain = 1;
    (void)module;
    const char *letter = n > 0 ? PyUnicode_AsUTF8AndSize(objects[0], 0) : "";
    if (!letter) return 0;
    for (Py_ssize_t i = 1; plain && i < n; i++) {
        if (PyObject_GetBuffer(objects[i], &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) {
            PyErr_Clear();
            return PyBool_FromLong(0);
        }
        plain = view.format && !strcmp(view.format, letter) && !((uintptr_t)view.buf % (size_t)view.itemsize);
        PyBuffer_Release(&view);
    }
    return PyBool_FromLong(plain);
}

LOOPS(FUNCTION)
PRODUCTS(FUNCTION)
ROUNDED_PRODUCTS(FUNCTION)
NUMBERS(NUMBER)
PRODUCT_NUMBERS(NUMBER)
ROUNDED_NUMBERS(NUMBER)

static PyMethodDef methods[] = {METHOD(are_plain) LOOPS(METHOD) PRODUCTS(METHOD) ROUNDED_PRODUCTS(METHOD) NUMBERS(METHOD)
                                    PRODUCT_NUMBERS(METHOD) ROUNDED_NUMBERS(METHOD){0, 0, 0, 0}};

static PyModuleDef_Slot slots_of_module[] = {
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, 0}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_loops", 0, 0, methods, slots_of_module, 0, 0, 0};

PyMODINIT_FUNC PyInit__loops(void) { return PyModuleDef_Init(&definition); }
