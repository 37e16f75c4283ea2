"""FM's relatives: what each is a special case of, the papers' parameter counts, and bugs of others that none has."""

import itertools
import tracemalloc

import numpy as np
import pytest
from matplotlib.figure import Figure
from models import build_layers, small
from numpy.testing import assert_allclose, assert_array_equal
from oracles import N_VALUES, built_model, logits, random_slots, randomize

from minictr import (
    AFM,
    DCN,
    FFM,
    FM,
    FNN,
    HOFM,
    NFM,
    PNN,
    DeepCrossing,
    DeepFM,
    FwFM,
    TrainingDiverged,
    WideDeep,
    XDeepFM,
    check_gradients,
    datasets,
    explain,
    layers,
    metrics,
    plots,
)
from minictr.layers import field_pairs, parameters

M, K = 4, 3


def built(cls, rng, **settings):
    """A model with random float64 parameters for N_VALUES values in M fields of vectors of K numbers."""
    model = build_layers(cls(embedding_dim=K, dtype="float64", **settings), N_VALUES, M, rng)
    randomize(model, rng)
    return model


def fm_with_the_parameters_of(model, rng):
    """An FM with the same w_0, w and V."""
    fm = built(FM, rng)
    for name, array in parameters(fm).items():
        array[...] = parameters(model)[name]
    return fm


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def slots(rng):
    return random_slots(rng, 6, M, "several")


@pytest.fixture(scope="module")
def clicks():
    return datasets.make_clicks(4_000, seed=0)


# ------------------------------------------------------------------------------- the FM in each of them


def test_nfm_without_a_hidden_layer_and_h_of_ones_is_the_fm(rng, slots):
    nfm = built(NFM, rng, deep_layers=())
    nfm.mlp.out.params["w"][:] = 1
    assert_allclose(nfm.forward(slots), fm_with_the_parameters_of(nfm, rng).forward(slots), rtol=1e-12)
    nfm.mlp.out.params["w"][0] = 2
    assert not np.allclose(nfm.forward(slots), fm_with_the_parameters_of(nfm, rng).forward(slots))


def test_fwfm_with_every_strength_1_is_the_fm_and_starts_so(rng, slots):
    fwfm = build_layers(FwFM(embedding_dim=K, dtype="float64"), N_VALUES, M, rng)
    assert_array_equal(fwfm.strength.params["r"], np.ones(6))
    for name in ("linear.w", "embedding.V"):
        parameters(fwfm)[name][...] = rng.standard_normal(parameters(fwfm)[name].shape)
    assert_allclose(fwfm.forward(slots), fm_with_the_parameters_of(fwfm, rng).forward(slots), rtol=1e-12)


def test_the_strength_of_a_pair_multiplies_its_term_alone(rng, slots):
    fwfm = built(FwFM, rng)
    fwfm.forward(slots)
    before = fwfm.terms()["pairs"]
    fwfm.strength.params["r"][2] *= -3
    fwfm.forward(slots)
    assert_allclose(fwfm.terms()["pairs"], before * [1, 1, -3, 1, 1, 1], rtol=1e-12)
    assert fwfm.pair_strengths() is fwfm.strength.params["r"]


def test_ffm_with_one_vector_for_all_fields_is_the_fm(rng, slots):
    ffm = built(FFM, rng)
    V = rng.standard_normal((N_VALUES, K))
    ffm.embedding.params["V"][...] = np.tile(V, M)
    fm = built(FM, rng)
    fm.embedding.params["V"][...] = V
    for name in ("linear.w", "linear.w0"):
        parameters(fm)[name][...] = parameters(ffm)[name]
    assert_allclose(ffm.forward(slots), fm.forward(slots), rtol=1e-12)


def test_hofm_with_no_third_order_is_the_fm(rng, slots):
    hofm = built(HOFM, rng)
    hofm.triple_embedding.params["V"][...] = 0
    assert_allclose(hofm.forward(slots), fm_with_the_parameters_of(hofm, rng).forward(slots), rtol=1e-12)


def test_wide_and_deep_without_its_parts_is_linear(rng, slots):
    model = build_layers(WideDeep(embedding_dim=K, dtype="float64", deep_layers=()), N_VALUES, M, rng)
    randomize(model, rng)
    model.mlp.out.params["w"][:] = 0
    assert_allclose(model.forward(slots), model.linear.forward(slots), rtol=1e-12)


# ------------------------------------------------------------------------------- what each is about


def test_the_vector_for_the_own_field_is_never_used(rng):
    products, E = layers.FieldAwareProducts(), rng.standard_normal((2, M, M, K))
    before = products.forward(E)
    E[:, range(M), range(M)] += 100
    assert_array_equal(products.forward(E), before)
    assert_array_equal(products.backward(np.ones((2, 6)))[:, range(M), range(M)], 0)


@pytest.mark.parametrize("L", [1, 2, 4])
def test_a_cross_network_is_a_polynomial_of_one_degree_more_than_it_has_layers(L, rng):
    """Along any line through 0: its differences of order L + 2 are 0, those of order L + 1 are not."""
    network = layers.CrossNetwork(5, L, rng, np.float64)
    randomize(network, rng)
    direction = rng.standard_normal(5)
    values = network.forward(np.linspace(-1, 1, L + 6)[:, None] * direction)
    size = np.abs(values).max()
    assert np.abs(np.diff(values, L + 2, axis=0)).max() < 1e-10 * size
    assert np.abs(np.diff(values, L + 1, axis=0)).min() > 1e-6 * size


@pytest.mark.parametrize("with_b", [False, True])
def test_a_cross_networks_output_is_a_multiple_of_its_input_and_one_vector(with_b, rng):
    """Lian et al. 2018, theorem 2.1, without b; with b a vector joins that is the same in every row."""
    network = layers.CrossNetwork(5, 3, rng, np.float64)
    randomize(network, rng)
    x0 = rng.standard_normal((4, 5))
    for l in range(3):
        network.params[f"b_{l}"] *= with_b
    rest = network.forward(x0) - network.forward(np.zeros((1, 5)))
    multiple = (rest * x0).sum(axis=1) / (x0 * x0).sum(axis=1)
    assert_allclose(rest, multiple[:, None] * x0, rtol=1e-9, atol=1e-11)
    assert len(set(multiple.round(6))) == 4


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_layer_of_cin_raises_the_degree_by_one(layer, rng):
    cin = layers.CIN(3, [2] * 3, rng, np.float64)
    E = rng.standard_normal((1, 3, 4))
    once, twice = cin.forward(E), cin.forward(2 * E)
    part = slice(2 * layer - 2, 2 * layer)
    assert_allclose(twice[:, part], 2 ** (layer + 1) * once[:, part], rtol=1e-12)


def test_there_is_no_triple_of_two_fields(rng):
    pooling = layers.TriplePooling()
    assert_allclose(pooling.forward(rng.standard_normal((5, 2, 3))), 0, atol=1e-12)


def test_hofm_has_no_term_in_which_a_field_meets_itself(rng):
    """One field's vector alone, however large, gives no triple; a cube of the sum would have e_i^3."""
    E = np.zeros((1, M, K))
    E[0, 1] = 100
    assert_allclose(layers.TriplePooling().forward(E), 0, atol=1e-6)
    E[0, 2] = 100                                                 # nor do two: with i = j there would be e_1^2 e_2
    assert_allclose(layers.TriplePooling().forward(E), 0, atol=1e-6)


@pytest.mark.parametrize("product, size", [("inner", M * K + 6), ("outer", M * K + K * K), ("both", M * K + 6 + K * K)])
def test_what_the_mlp_of_a_pnn_is_given(product, size, rng):
    assert built(PNN, rng, product=product).mlp.dense[0].params["W"].shape[0] == size


def test_a_residual_unit_without_weights_is_a_relu(rng):
    unit = layers.ResidualUnit(4, 3, rng, np.float64)
    for array in parameters(unit).values():
        array[...] = 0
    x = rng.standard_normal((5, 4))
    assert_array_equal(unit.forward(x), np.maximum(x, 0))


def test_cin_and_crossnet_alone_have_nothing_else(rng):
    cin = build_layers(small("CIN"), N_VALUES, M, rng)
    assert {name.split(".")[0] for name in parameters(cin)} == {"embedding", "cin", "cin_readout"}
    crossnet = build_layers(small("CrossNet"), N_VALUES, M, rng)
    assert {name.split(".")[0] for name in parameters(crossnet)} == {"embedding", "cross", "readout"}


# ------------------------------------------------------------------------------- FNN's start


def test_fnn_starts_from_an_fm_that_fit_trains_first(clicks):
    """Known elsewhere: the part that is called pre-trained starts at random."""
    fnn = FNN(embedding_dim=4, fm_epochs=2, learning_rate=0.01).prepare(clicks.X, clicks.y)
    fm = FM(embedding_dim=4, epochs=2, learning_rate=0.01).fit(clicks.X, clicks.y)
    for name in ("embedding.V", "linear.w"):
        assert_array_equal(parameters(fnn)[name], parameters(fm)[name], err_msg=name)
    assert_allclose(fnn.linear.params["w0"] + fnn.bias(), fm.bias(), rtol=1e-6)       # together they start at the FM's
    assert np.abs(fnn.embedding.params["V"]).max() > 0.05         # the FM learned something
    assert fnn.init_from is None
    at_random = FNN(embedding_dim=4, fm_epochs=0).prepare(clicks.X, clicks.y)
    assert np.abs(at_random.embedding.params["V"]).max() < 0.05
    assert (fnn.row_counts_ == at_random.row_counts_).all()       # the FM's epochs count no row twice


def test_fnn_starts_from_the_fm_that_it_is_given_and_trains_it_on(clicks):
    fm = FM(embedding_dim=4, epochs=2, learning_rate=0.01).fit(clicks.X, clicks.y)
    fnn = FNN.from_fm(fm, deep_layers=(8,), epochs=1).prepare(clicks.X, clicks.y)
    assert_array_equal(fnn.embedding.params["V"], fm.embedding.params["V"])
    fnn.fit(clicks.X, clicks.y)
    assert (fnn.embedding.params["V"] != fm.embedding.params["V"]).any()
    assert fnn.init_from is fm


def test_fnn_reads_the_weights_and_vectors_of_the_fm(rng, slots):
    fnn = built(FNN, rng, deep_layers=(3,))
    fnn.forward(slots)
    z = fnn.mlp.dense[0].cache["x"]
    assert z.shape == (6, 1 + M * (K + 1))
    assert_allclose(z[:, 0], fnn.linear.params["w0"][0])
    assert_allclose(z[:, 1:1 + M], fnn.linear.field_terms())
    assert_allclose(z[:, 1 + M:], fnn.embedding.forward(slots).reshape(6, -1))


# ------------------------------------------------------------------------------- Wide & Deep


def test_a_cross_learns_what_the_wide_part_alone_cannot():
    rng = np.random.default_rng(0)
    X = {"a": rng.integers(0, 4, 4_000), "b": rng.integers(0, 4, 4_000)}
    y = ((X["a"] + X["b"]) % 2 == 0).astype(int)                  # neither field says anything alone
    settings = {"deep_layers": (), "embedding_dim": 1, "freeze": ("embedding", "mlp"), "epochs": 5, "seed": 0}
    crossed = WideDeep(crosses=[("a", "b")], cross_buckets=1_000, **settings).fit(X, y)
    assert crossed.score(X, y) == 1.0
    assert WideDeep(**settings).fit(X, y).score(X, y) < 0.6


def test_a_combination_has_the_same_weight_in_whatever_row_it_stands(rng):
    layer = layers.Crosses([[0, 1], [1, 0, 2]], buckets=50, dtype=np.float64)
    randomize(layer, rng)
    slots = random_slots(rng, 30, 3, "categories")
    together, one_by_one = layer.crossed(slots).ids, [layer.crossed(slots[[row]]).ids[0] for row in range(30)]
    assert_array_equal(together, one_by_one)
    assert (together[:, 0] < 50).all() and (together[:, 1] >= 50).all() and (together[:, 1] < 100).all()


def test_combinations_spread_over_the_buckets():
    """10,000 combinations in 10,000 buckets: with a random hash 1/e of the buckets stay empty."""
    from minictr.slots import Slots

    a, b = np.divmod(np.arange(10_000), 100)
    ids = layers.Crosses([[0, 1]], buckets=10_000).crossed(Slots(np.stack([a, 100 + b], axis=1), None, [0, 1])).ids
    assert 0.55 < len(np.unique(ids)) / 10_000 <= 1


def test_l1_makes_weights_of_the_wide_part_exactly_0(clicks):
    settings = {"crosses": [("user_segment", "ad_category")], "cross_buckets": 500, "epochs": 2, "deep_layers": (8,)}
    some = WideDeep(l1=0.02, **settings).fit(clicks.X, clicks.y)
    none = WideDeep(l1=0.0, **settings).fit(clicks.X, clicks.y)
    touched = none.linear.params["w"] != 0
    assert (some.linear.params["w"][touched] == 0).mean() > 0.2
    assert (some.linear.params["w"] != 0).any()
    assert (some.mlp.dense[0].params["W"] != 0).all()             # AdaGrad, without L1


def test_wide_and_deep_has_the_papers_optimizers(clicks):
    model = WideDeep(crosses=[("user_segment", "ad_category")], wide_learning_rate=0.3, l1=0.01, learning_rate=0.02,
                     lr_multipliers={"mlp": 2}).prepare(clicks.X, clicks.y)
    of = model.optimizer_.of
    assert {type(of(name)).__name__ for name in ("linear.w", "crossed.w")} == {"FTRL"}
    assert {type(of(name)).__name__ for name in ("linear.w0", "embedding.V", "mlp.dense_1.W")} == {"Adagrad"}
    assert of("linear.w").l1 == 0.01 and of("linear.w").learning_rate == 0.3 and of("mlp.out.w").learning_rate == 0.02
    assert of("mlp.out.w").multiplier("mlp.out.w") == 2
    plain = WideDeep(wide_optimizer=None, optimizer="adam").prepare(clicks.X, clicks.y)
    assert type(plain.optimizer_).__name__ == "Adam"


@pytest.mark.parametrize("crosses, message", [
    ([("user_segment", "colour")], "crosses names the field 'colour'; there are user_segment"),
    ([("user_segment",)], "crosses must be a list of combinations of two or more names"),
    ([("hour", "hour")], "crosses must be a list of combinations"),
    (["hour"], "crosses must be a list of combinations"),
    ([(0, 1)], "crosses must be a list of combinations"),
])
def test_a_wrong_cross_is_refused(crosses, message, clicks):
    with pytest.raises(ValueError, match=message):
        WideDeep(crosses=crosses).fit(clicks.X, clicks.y)


def test_the_terms_of_wide_and_deep_name_their_crosses(clicks):
    model = WideDeep(crosses=[("user_segment", "ad_category"), ("hour", "device", "user_segment")], epochs=1,
                     deep_layers=(4,)).fit(clicks.X, clicks.y)
    table = explain.contributions(model, clicks.X[:3])
    assert {"user_segment x ad_category", "hour x device x user_segment", "deep part"} < set(table["term"])
    assert_allclose(table.groupby("row")["value"].sum(), model.decision_function(clicks.X[:3]), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------- the papers' parameter counts


@pytest.mark.parametrize("model, millions", [
    (FM(embedding_dim=256), 1.38), (HOFM(embedding_dim=256), 2.76), (AFM(embedding_dim=256, attention_dim=256), 1.45),
    (WideDeep(embedding_dim=256, deep_layers=(1024, 512, 256)), 4.66),
    (DeepCrossing(embedding_dim=256, deep_layers=(512, 512, 256, 128, 64)), 8.93),
], ids=lambda value: type(value).__name__ if not isinstance(value, float) else str(value))
def test_parameter_counts_of_the_afm_papers_table_2(model, millions):
    """On Frappe: 5,382 values in 10 fields."""
    build_layers(model, 5_382, 10, np.random.default_rng(0))
    assert round(sum(array.size for array in parameters(model).values()) / 1e6, 2) == millions


@pytest.mark.parametrize("name, count", [
    ("FFM", N_VALUES * (M * 3 + 1) + 1), ("FwFM", N_VALUES * 4 + 1 + 6), ("HOFM", N_VALUES * 7 + 1),
    ("NFM", N_VALUES * 4 + 1 + (4 * 4 + 5 * 3 + 3)), ("FNN", N_VALUES * 4 + 1 + (18 * 8 + 9 * 4 + 5)),
    ("PNN", N_VALUES * 3 + (19 * 8 + 9 * 4 + 5)), ("WideDeep", N_VALUES * 4 + 1 + 2 * 20 + (13 * 4 + 5 * 3 + 3)),
    ("DeepCrossing", N_VALUES * 3 + (2 * 12 * 4 + 4 + 12) + (2 * 12 * 2 + 2 + 12) + 13),
    ("DCN", N_VALUES * 3 + 2 * 2 * 12 + (13 * 4 + 5 * 3) + 12 + 3 + 1),
    ("XDeepFM", N_VALUES * 4 + 3 * (16 + 1) + 2 * (12 + 1) + 1 + (13 * 4 + 5 * 3 + 3)),
])
def test_parameter_counts_are_those_of_the_docstrings(name, count, rng):
    assert sum(array.size for array in parameters(built_model(name, rng, M)).values()) == count


# ------------------------------------------------------------------------------- known bugs elsewhere


def peak(function):
    """The largest sum of memory that NumPy held while a function ran, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_cross_network_makes_no_matrix_of_x0_and_xl(rng):
    network, x0 = layers.CrossNetwork(400, 2, rng), rng.standard_normal((50, 400)).astype(np.float32)
    out = network.forward(x0)
    assert peak(lambda: (network.forward(x0), network.backward(out))) < x0.nbytes * 400 / 10


def test_cin_makes_no_array_of_all_products(rng):
    B, fields, k, H = 100, 30, 8, 40
    cin, E = layers.CIN(fields, [H, H], rng), rng.standard_normal((B, fields, k)).astype(np.float32)
    out = cin.forward(E)
    assert peak(lambda: (cin.forward(E), cin.backward(out))) < 4 * B * H * fields * k / 2


def test_layers_of_cin_meet_the_first_vectors_not_each_other(rng):
    """Known elsewhere: X^k * X^k. Doubling X^0 doubles what layer 2 makes of an unchanged X^1."""
    cin = layers.CIN(2, [2, 2], rng, np.float64)
    E = rng.standard_normal((1, 2, 3))
    cin.forward(E)
    X_1, W_2 = cin.cache["X_1"], cin.params["W_2"]
    expected = [[sum(W_2[h, i, j] * X_1[0, i, f] * E[0, j, f] for i in range(2) for j in range(2)) for f in range(3)]
                for h in range(2)]
    assert_allclose(cin.cache["X_2"][0], expected, rtol=1e-12)


def test_ffm_takes_the_vector_for_the_other_field(rng):
    """Known elsewhere: v_{i,f(i)}. With vectors that differ only in the field they are for, one can tell."""
    E = np.zeros((1, M, M, 1))
    E[0, :, :, 0] = [[0, 2, 3, 5], [7, 0, 11, 13], [17, 19, 0, 23], [29, 31, 37, 0]]
    out = layers.FieldAwareProducts().forward(E)
    i, j = field_pairs(M)
    assert_array_equal(out[0], E[0, i, j, 0] * E[0, j, i, 0])
    assert out[0].tolist() == [2 * 7, 3 * 17, 5 * 29, 11 * 19, 13 * 31, 23 * 37]


def test_deepfm_and_xdeepfm_share_one_table_of_vectors(rng):
    for cls in (DeepFM, XDeepFM, DCN, PNN):
        assert [name for name in parameters(built(cls, rng)) if name.endswith(".V")] == ["embedding.V"]


# ------------------------------------------------------------------------------- FFM as its authors' program has it


def test_ffm_without_first_order_terms_is_products_alone(rng, slots, clicks):
    ffm = build_layers(FFM(embedding_dim=K, first_order=False, dtype="float64"), N_VALUES, M, rng)
    assert list(parameters(ffm)) == ["embedding.V"] and ffm.bias() == [0]
    assert_allclose(ffm.forward(slots), logits(ffm, slots), rtol=1e-12)
    assert check_gradients(ffm, slots, redraw=0.5).passed
    assert list(ffm.terms()) == ["pairs"]
    model = FFM(first_order=False, learning_rate=0.02, epochs=5).fit(clicks.X, clicks.y)
    assert metrics.auc(clicks.y, model.predict_proba(clicks.X)[:, 1]) > 0.8
    table = explain.contributions(model, clicks.X[:3])
    assert_allclose(table.groupby("row")["value"].sum(), model.decision_function(clicks.X[:3]), rtol=1e-4, atol=1e-5)


def test_ffm_without_a_bias_is_for_clicks_alone(clicks):
    with pytest.raises(ValueError, match=r"FFM\(first_order=False\) has no w_0"):
        FFM(first_order=False, task="regression").fit(clicks.X, clicks.y)


def test_a_start_that_diverges_is_named(clicks):
    with pytest.raises(TrainingDiverged, match=r"Lower learning_rate .* \(FNN was training its FM\)"):
        FNN(learning_rate=1e30, optimizer="sgd", task="regression").fit(clicks.X, clicks.y)


# ------------------------------------------------------------------------------- what needs more than one table


def test_fnn_trains_its_fm_on_pieces_and_on_ratings_too(clicks):
    pieces = [(clicks.X[i:i + 1_000], clicks.y[i:i + 1_000]) for i in range(0, 4_000, 1_000)]
    settings = {"embedding_dim": 4, "deep_layers": (8,), "fm_epochs": 2, "epochs": 1, "shuffle_window": 1,
                "batch_size": 250, "learning_rate": 0.01}
    streamed = FNN(**settings).fit(lambda: iter(pieces))
    whole = FNN(**settings).fit(clicks.X, clicks.y)
    assert_array_equal(streamed.decision_function(clicks.X), whole.decision_function(clicks.X))
    ratings = datasets.make_ratings(n_users=50, n_items=30, n_ratings=800, seed=0)["ratings"]
    model = FNN(embedding_dim=4, deep_layers=(8,), fm_epochs=3, epochs=1, learning_rate=0.01).fit(
        user_ids=ratings["user_id"], item_ids=ratings["movie_id"], ratings=ratings["rating"])
    assert np.abs(model.embedding.params["V"]).max() > 0.05 and 1 < model.predict(1, ratings["movie_id"].iloc[0]) < 5


def test_a_loaded_wide_and_deep_goes_on_with_both_optimizers(clicks, tmp_path):
    model = WideDeep(crosses=[("user_segment", "ad_category")], cross_buckets=200, deep_layers=(8,), l1=0.01,
                     epochs=2).fit(clicks.X, clicks.y)
    model.save(tmp_path / "model.npz", optimizer=True)
    loaded = WideDeep.load(tmp_path / "model.npz")
    assert set(loaded.optimizer_.state) == set(model.optimizer_.state)
    for one in (model, loaded):
        one.partial_fit(clicks.X[:500], clicks.y[:500])
    for name, array in parameters(model).items():
        assert_array_equal(parameters(loaded)[name], array, err_msg=name)


def test_triples_are_among_the_contributions_and_add_up(clicks):
    model = HOFM(embedding_dim=3, epochs=2, learning_rate=0.01).fit(clicks.X, clicks.y)
    table = explain.contributions(model, clicks.X[:4])
    assert table.columns.tolist() == ["row", "term", "field_i", "field_j", "field_l", "value"]
    assert (table["term"] == "triple").sum() == 4 * 56 and (table["term"] == "pair").sum() == 4 * 28
    one = table[(table["row"] == 0) & (table["term"] == "triple")]
    names = list(clicks.X.columns)
    assert one[["field_i", "field_j", "field_l"]].to_numpy().tolist() == [
        [names[i] for i in triple] for triple in itertools.combinations(range(8), 3)]
    assert_allclose(table.groupby("row")["value"].sum(), model.decision_function(clicks.X[:4]), rtol=1e-4, atol=1e-5)
    assert explain.contributions(model, clicks.X[:4], wide=True).shape == (4, 1 + 8 + 28 + 56)
    ax = plots.waterfall(table, row=0, top=70, ax=Figure().subplots())
    assert any(label.get_text().count(" × ") == 2 for label in ax.get_yticklabels())
    text = str(explain.one_prediction(model, clicks.X[:1], background=clicks.X[:200]))
    assert " × " in text
    assert "triple" in explain.pair_importance(model, clicks.X[:50]).attrs["note"]


def test_ctrl_c_while_fnn_trains_its_fm_ends_the_fit(clicks, monkeypatch):
    """``fit`` keeps the best weights so far; of an FNN whose FM is not ready there are none."""
    def interrupted(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(layers.FactorSum, "backward", interrupted)            # which the FM has, and the FNN has not
    model = FNN(plain=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(clicks.X, clicks.y)
    assert not model.__sklearn_is_fitted__() and model.init_from is None
