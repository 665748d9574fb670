"""Model files: plain values, arrays and layers in HDF5, verified completely before use.

Format version 1
================
This text is the specification, from which readers in other languages can be written.

A model file is a user block of 512 bytes followed by an HDF5 file (readable by HDF5 1.8 and later;
all HDF5 tools skip the user block). It contains only data: nothing in it is ever executed.

User block
----------
Four lines of ASCII, each ended by one line feed, then NUL bytes up to byte 511::

    deepbelief
    version 1
    length N
    sha256 H

N is the number of bytes after the user block, in decimal without leading zeros or sign; H is the
SHA-256 of these N bytes as 64 lower-case hexadecimal digits. The file is exactly 512 + N bytes long.
A reader checks all 512 bytes, the length and the digest before it opens the HDF5 part. Later versions
keep the format of the first two lines.

Types
-----
- *text*: a scalar dataset (or attribute) of a fixed-length, NUL-padded UTF-8 string.
- *integer*: a scalar attribute, signed 64-bit little-endian.
- *number array*: IEEE float32 or float64, or a signed or unsigned integer of 1, 2, 4 or 8 bytes, all
  little-endian; or a boolean, which is HDF5's enumeration of an 8-bit integer with FALSE = 0 and
  TRUE = 1. Floating values are finite.
- *string array*: fixed-length, NUL-padded UTF-8 strings, with an integer attribute ``characters``: the
  width in code points of the fixed-width array it was (NumPy's ``U``), or 0 for strings of any length
  (NumPy's ``object``). No string ends in NUL.
- *JSON text*: a text containing strict JSON (RFC 8259, no NaN literal), at most 16 MiB long and nested at
  most 64 deep; integers are exact at any size. Three notations represent values that JSON lacks:
  ``{"$float": "nan"}``, with ``"inf"`` and ``"-inf"`` likewise, is that floating value;
  ``{"$map": [[key, value], ...]}`` is a mapping whose keys are not all strings; in any other object, a key
  that starts with ``$`` is written with an additional ``$`` in front. Tuples and arrays are written and
  read as lists.

HDF5 part
---------
The HDF5 part has these members and no others, all reached by hard links::

    /                       attributes: format = "deepbelief" (text), format_version = 1 (integer),
                            kind (text): the class of the model, "RBM", "DBN", "DBNClassifier", "Stack" ...
    /params                 JSON text, an object: the settings by name. A setting that is itself an estimator
                            is {"kind": "RBM", "params": {...}}
    /attributes             JSON text, an object: further fitted values by name
    /history                JSON text, a list of objects: one record per epoch
    /metadata               JSON text, an object: values supplied by the user
    /versions               JSON text, an object: the versions of the libraries that wrote the file
    /arrays/NAME            optional; number or string arrays by name, listed in "Arrays and attributes" below
    /stack                  optional group; attribute tuned (integer): 1 once fine-tuning has moved the weights
    /stack/metadata         JSON text, an object: plain values stored with the stack
    /stack/layer_1          one group per layer, from the data upwards, numbered without gaps; attributes
                            n_visible, n_hidden (integer), visible, hidden (text): sizes and unit types, which are
                            "bernoulli", "gaussian", "spin", "rectified", "relu", "drelu", "softmax:3,3,2" (sizes
                            of the groups) and "labelled:bernoulli,10" (data, then one group of 10 labels)
    /stack/layer_1/W        (n_visible, n_hidden), floating
    /stack/layer_1/vbias    (n_visible,), floating
    /stack/layer_1/hbias    (n_hidden,), floating
    /stack/layer_1/mean, scale
                            (n_visible,), floating, scale > 0; both or neither: the layer receives (v - mean) / scale
    /stack/layer_1/visible_mean
                            (n_visible,), floating, optional: column means of the training rows after scaling
    /stack/layer_1/hidden_parameters
                            (3, n_hidden), floating, of drelu units: log g+, log g- and d of the energy
                            g h^2 / 2 + d abs(h) - z h, where g is g+ for h > 0 and else g-
    /pretrained             optional group, like /stack: the layers before fine-tuning
    /parts/NAME             optional groups: the models that this one is made of, each with an attribute kind and the
                            members params, attributes, history, arrays, stack and pretrained as the root has them

Languages with column-major arrays (Julia, R, MATLAB, Fortran) read every matrix transposed: W has shape (n_hidden,
n_visible).

Arrays and attributes
---------------------
Every kind but Stack has the attributes ``seed`` and ``n_features_in`` (integers), and the array
``feature_names_in`` (strings) if the columns had names. If settings were left at ``"auto"``, the attribute ``resolved``
is an object that maps the name of each to a list of the value in effect and the reason for it. In addition:

``"Stack"``
    No arrays or attributes.
``"DBN"``
    ``h_states`` (any, n_top): hidden states of the top layer from which sampling starts. Attribute ``draws``:
    number of random streams used after training.
``"RBM"``, ``"RBMClassifier"``
    One layer. ``h_samples`` (any, n_hidden): hidden states of the last negative phase. ``state.OWNER.NAME``:
    values that the next update needs in addition to the weights. The attribute ``state`` lists the names by owner:
    ``optimizer`` (``0``, ``1``, ``2``: moments of W, vbias, hbias ...), ``gradient`` (``chains``, ``fast_W``
    ...) and one for each component. Not needed for predictions. Attributes ``epochs``, ``updates``, ``draws``.
    A classifier also has ``classes`` (n_classes,) and the attribute ``n_unlabeled``.
``"DBNClassifier"``, ``"DBNRegressor"``, ``"DeepAutoencoder"``
    ``coef_0``, ``coef_1`` ... and ``intercept_0``, ``intercept_1`` ...: matrices of shape (n_below, n_above)
    and biases of the feed-forward network, from the data upwards. The last pair is the head. Attribute
    ``epochs``. A classifier and a regressor have the attribute ``n_unlabeled`` (rows without a label that `fit`
    left out). A classifier has the attribute ``targets``: ``"classes"`` with the array ``classes``, ``"tasks"``
    with ``classes_0``, ``classes_1`` ..., whose outputs are adjacent in the head, or ``"labels"`` with
    ``classes``, the numbers of the labels. Classes are sorted. A regressor has ``target_mean`` and
    ``target_scale`` (n_outputs,), float64.
``"RecurrentRBM"``
    One layer, and ``Wuv`` (n_recurrent, n_visible), ``Wuh`` (n_recurrent, n_hidden), ``Wvu`` (n_visible,
    n_gates n_recurrent), ``Wuu`` (n_recurrent, n_gates n_recurrent), ``ubias`` (n_gates n_recurrent,), ``u0``
    (n_recurrent,). ``optimizer_0``, ``optimizer_1`` ...: state of the optimizer. Attributes ``cell``
    (``"tanh"``: n_gates is 1, ``"gru"``: 3), ``epochs``, ``updates``, ``draws``.
``"AnomalyDetector"``
    No layers; attribute ``offset`` (subtracted from scores). With ``estimator`` in /params, its model is the part
    ``model``. Otherwise, the parts are ``binned`` and ``gaussian`` (RBM) and ``network_0``, ``network_1`` ... (DBN).
    ``errors`` (n_networks, n_values): mean squared errors of the networks in training. ``centres``, ``spreads`` (3,):
    mean and standard deviation of the three scores. Attribute ``columns``: a schema, as for tables. Its ``columns``
    are objects with a ``name`` and a ``kind``: ``"number"`` with one of its ``cells`` (the mean value in each) per unit
    and the ``edges`` between them, ``"category"`` with a unit for each of its ``values``; columns of other kinds are
    not in the model. ``missing_unit`` is the index of the unit for a missing value; if it equals the number of the
    other units, it is an additional unit. ``column_centres``, ``column_scales`` (n_values,): median and robust standard
    deviation of each number, and for each category mean and standard deviation of its column of 0 and 1.

Files of the first releases have ``velocity_0``, ``fast_0``, ``average_0`` ..., ``chains``, ``activity``,
``offset`` and ``log_variance`` instead of ``state.OWNER.NAME``, and their metadata may contain ``scaling``, which
is then applied before everything below. Readers skip arrays and attributes that they do not recognise.

Predictions
-----------
x is a row in the units of the data. The input of the first layer is v = (x - mean) / scale, with the mean and scale of
/stack/layer_1, or v = x if these are missing. v is a row vector, so products are v W. sigmoid(z) is 1 / (1 + exp(-z)).

*Layers of a stack* (kinds RBM, DBN, Stack). Hidden means h = f(v W + hbias), where f belongs to the layer's
``hidden``: sigmoid for ``bernoulli``, max(0, z) for ``rectified``, z for ``gaussian``, tanh for ``spin``, and for
``relu`` z + phi(z) / Phi(z) with the density and the distribution function of a standard normal number; for
``drelu`` the mean under that energy. They are the input v of the layer above, which may have its own mean and scale.
Downwards, v = g(h W^T + vbias), where g is sigmoid for ``bernoulli``, z for ``gaussian``, tanh for ``spin`` and
softmax within each group; then v scale + mean.

*Networks* (DBNClassifier, DBNRegressor, DeepAutoencoder). h_0 = v and h_(i+1) = f_i(h_i coef_i + intercept_i);
these arrays include all scaling above the first layer. f is ``activation`` of /params: ``sigmoid``,
``tanh``, ``hard_tanh`` (z cut off at -1 and 1), ``softsign`` (z / (1 + abs(z))), ``relu``, ``identity``;
``auto`` (and for autoencoders always) means the f of ``hidden`` of /stack/layer_(i+1), for ``relu`` max(0, z). An own
activation is {"strategy": "activation:relu", "settings": {...}}; early files have the name of the class, "ReLU".
The head's z = h_last coef_last + intercept_last gives

- a classifier's probabilities: softmax(z); for tasks a softmax within the columns of each; for ``labels``
  sigmoid(z). The prediction is the class of the largest probability; of labels 1 where it is above 0.5;
- a regressor's prediction: z target_scale + target_mean;
- an autoencoder's reconstruction: g(z), g as above for ``visible`` of layer 1, then times scale plus mean. With
  n layers in /stack, h_n is the code. f of the decoder is that of the layers' ``visible`` downwards from layer
  n to layer 2. The decoder is stored in full whether it is ``tied`` or not. ``loss`` of /params does not change
  the output.

*RBMClassifier*. v is the row, followed by the ``labelled`` units, which are 1 for its class and 0 elsewhere. The
probability of class k is softmax over k of vbias[n + k] + sum over j of log(1 + exp(hbias_j + sum over i < n of
v_i W_ij + W_(n+k)j)), where n is ``n_features_in``.

*RecurrentRBM*. Frame t has an RBM with W and biases vbias + u_(t-1) Wuv and hbias + u_(t-1) Wuh, and u_(-1) =
u0. With x = v_t Wvu + ubias and a = u_(t-1) Wuu, a ``tanh`` cell has u_t = tanh(x + a). In a ``gru`` cell, x and
a consist of three adjacent parts r, z, c: r = sigmoid(x_r + a_r), z = sigmoid(x_z + a_z), c = tanh(x_c + r a_c),
u_t = (1 - z) c + z u_(t-1).

*AnomalyDetector*. The score of a row is minus the sum of (s_i - centres_i) / spreads_i over three values s; it is below
``offset`` for outliers. s_0 is the free energy of ``binned`` on the states of all columns, left to right, s_1 that of
``gaussian`` on their values, s_2 the mean over the networks n of the square root of the sum over values i of
(reconstruction_i - value_i)^2 / errors_ni, where the reconstruction is computed up and down the stack. The states of a
column are 1 at one of its units and 0 elsewhere. The index of that unit is the number of edges below x for a number x,
the position in ``values`` for a category, and ``missing_unit`` for a missing value. The value of a number is x; the
values of a category are 1 at its position and 0 elsewhere. ``column_centres`` are subtracted from all values, which are
then divided by ``column_scales``; numbers are clipped at -5 and 5, and the values of missing entries are 0. The free
energy of a row v of states is -v vbias - sum over j of log(1 + exp(hbias_j + (v W)_j)); for Gaussian units, half of the
sum of (v - vbias)^2 replaces -v vbias, and v is the row of values scaled by the mean and scale of the layer.

Checkpoints
-----------
A file of kind ``"Checkpoint"`` holds the state of a run between two updates. Its params are the settings of the run;
its attributes are ``state``, ``data`` (a fingerprint of the rows), ``seed``, ``machine`` (its properties that results
depend on), ``layout`` (the version of the state) and ``finished``. ``state`` consists of nested objects and lists, in
which an object ``{"array at": NAME}`` stands for the array /arrays/NAME. The previous checkpoint is in the same folder,
under the same name followed by ``.previous``.

Storage
-------
Datasets are stored compact, contiguous or in chunks (at most 65536 of them); chunks may pass through gzip,
shuffle and fletcher32, each once, and no other filter. This library writes contiguous datasets without filters, and
equal content gives equal bytes. A name (of a kind or an array) is a letter or underscore followed by at most 127
letters, digits, underscores, dots or hyphens; a text in an attribute has at most 32768 bytes. Readers refuse soft and
external links, external storage, virtual datasets, references, additional members, other types, and declared sizes
beyond a memory limit (64 MiB plus 40 times the length of the file) or beyond the capacity of the file (deflate expands
one byte to at most 1032). All of this is checked before any array is read.
"""

from deepbelief.hdf5.checkpoint import (
    KIND,
    check_replaceable,
    is_checkpoint,
    last_checkpoint,
    previous_of,
    read_checkpoint,
    write_checkpoint,
)
from deepbelief.hdf5.model_file import FORMAT_VERSION, ModelFile
from deepbelief.hdf5.reading import describe, read
from deepbelief.hdf5.replacement import check_writable, replacing
from deepbelief.hdf5.writing import versions, write

CHECKPOINT = KIND

__all__ = [
    "CHECKPOINT",
    "FORMAT_VERSION",
    "ModelFile",
    "check_replaceable",
    "check_writable",
    "describe",
    "is_checkpoint",
    "last_checkpoint",
    "previous_of",
    "read",
    "read_checkpoint",
    "replacing",
    "versions",
    "write",
    "write_checkpoint",
]
