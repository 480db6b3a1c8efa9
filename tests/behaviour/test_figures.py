"""Text in pictures: any name is shown letter by letter, within the edges of the picture."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.text import Text

from scratch.figures import latents, pictures, sweeps
from scratch.figures.text import DPI, fold, literal, width_of

NAMES = ["a$b$", "$\\notacommand{", "$x^2$ and $y$", r"back\$slash\\$", "_hidden", "100% & #1 {}", "x_1^2", "plain"]
LONG = "folder:/home/somebody/" + "a quite long name of a folder with many words/" * 4 + "x" * 120
IMAGES = np.zeros((10, 8, 8, 3))


@pytest.fixture
def drawn(monkeypatch):
    """drawn(figure) -> every line of text that is drawn; none may be read as mathematics."""
    lines = []
    draw_text = RendererAgg.draw_text

    def record(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        lines.append((s, ismath))
        return draw_text(self, gc, x, y, s, prop, angle, ismath, mtext)

    def draw(figure):
        lines.clear()
        monkeypatch.setattr(RendererAgg, "draw_text", record)
        figure.set_dpi(DPI)
        FigureCanvasAgg(figure).draw()
        monkeypatch.setattr(RendererAgg, "draw_text", draw_text)
        return [line for line, ismath in lines if not ismath]

    return draw


def row(name, **figures):
    return {"settings": {"beta": "1", "codebook": name}, "rate": 1.0, "distortion": 2.0, "elbo": -3.0, "psnr": 20.0,
            **figures}


def sweep_rows(name):
    return [row(name), {**row(name), "settings": {"beta": "2", "codebook": name}},
            {**row("other"), "rate": 1.5}]


def over(name):
    """A sweep through two values of an option, one of them the name."""
    rows = [{**row("x"), "settings": {"data": value}, "rate": rate} for rate, value in enumerate((name, "mnist"), 1)]
    return {"data": [name, "mnist"]}, rows


def information(name):
    shares = np.array([[0.5, 0.1], [0.0, 0.2]])
    return SimpleNamespace(nats=shares, entropies=np.ones(2), names=[name, "y"], gaps=[0.1, 0.2], mig=0.15)


def space():
    codes = np.random.default_rng(0).normal(size=(20, 2))
    return SimpleNamespace(codes=codes, most_important=lambda count: (0, 1), unit="{:.2f}", importance=[1.0, 2.0],
                           has_prior=True)


TRAINED = SimpleNamespace(options={"model": "vae"})
METRICS = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]
SCORES = np.random.default_rng(0).normal(size=(2, 50))
AXES = {"beta": ["1", "2"], "codebook": ["$a$", "other"]}
FIGURES = {  # what the picture is: (it, with a name from outside; the words that are drawn with the name)
    "rows: label": (lambda name: pictures.image_rows([(name, IMAGES), ("b", IMAGES[:3])], "title"), "{}"),
    "rows: title": (lambda name: pictures.image_rows([("a", IMAGES)], f"images of {name}"), "images of {}"),
    "neighbours": (lambda name: pictures.neighbours(IMAGES[:2], {name: IMAGES[None, :4].repeat(2, 0)}, name), "{}"),
    "run curves": (lambda name: pictures.run_curves({name: METRICS, "other": METRICS}, ["loss"]), "{}"),
    "PCA: run": (lambda name: pictures.explained_variance(np.linspace(0.5, 1, 5), {name: [(2, 0.5)]}, "mnist"), "{}"),
    "PCA: data": (
        lambda name: pictures.explained_variance(np.linspace(0.5, 1, 5), {"a": [(2, 0.5)]}, name),
        "held-out images of {}",
    ),
    "scores": (lambda name: pictures.score_histograms({"elbo": SCORES}, {"elbo": 0.5}, name, "outside"), "{}"),
    "information": (lambda name: latents.information_figure(information(name)), "{}"),
    "scatter: data": (
        lambda name: latents.scatter_figure(space(), "label", np.arange(20) % 3, name),
        "20 held-out images of {}: posterior means; circles: 1σ and 2σ of the prior",
    ),
    "scatter: classes": (lambda name: latents.scatter_figure(space(), name, np.arange(20) % 3, "d"), "{}"),
    "scatter: colours": (lambda name: latents.scatter_figure(space(), name, np.arange(20) / 20, "d"), "{}"),
    "grid": (lambda name: latents.image_grid(IMAGES[:9].reshape(3, 3, 8, 8, 3), name), "{}"),
    "rate and distortion": (lambda name: sweeps.rate_distortion_curve(AXES, sweep_rows(name)), "codebook {}"),
    "over an option": (lambda name: sweeps.over_option(AXES, sweep_rows(name)), "codebook {}"),
    "rate and distortion: points": (lambda name: sweeps.rate_distortion_curve(*over(name)), "{}"),
    "over an option: ticks": (lambda name: sweeps.over_option(*over(name)), "{}"),
}
FACTORS = ("information", "scatter: classes", "scatter: colours")  # a data set names them; they are short


every_figure = pytest.mark.parametrize(("make", "words"), FIGURES.values(), ids=FIGURES)


def without_spaces(text):
    return "".join(text.split())


@every_figure
@pytest.mark.parametrize("name", NAMES)
def test_the_text_drawn_is_the_text_given(make, words, drawn, name):
    lines = drawn(make(name))
    assert without_spaces(words.format(name)) in without_spaces("".join(lines))


@every_figure
def test_control_characters_are_escaped(make, words, drawn):
    lines = drawn(make("a\x1b[31m\tb\u202e"))
    assert without_spaces(words.format(r"a\x1b[31m\tb\u202e")) in without_spaces("".join(lines))


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("name", [LONG, "W" * 200, "word " * 40], ids=["path", "one word", "words"])
def test_a_long_name_is_drawn_whole_and_within_the_picture(figure, drawn, name):
    make, words = FIGURES[figure]
    name = name[:30] if figure in FACTORS else name
    figure = make(name)
    lines = drawn(figure)  # raises if the layout leaves no room for the axes: that warning is an error
    assert without_spaces(words.format(name)) in without_spaces("".join(lines))
    width, height = figure.canvas.get_width_height()
    renderer = figure.canvas.get_renderer()
    for text in figure.findobj(Text):
        if text.get_visible() and any(part and part in text.get_text() for part in (name[:5], name[-5:])):
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text


USUAL = {  # the other pictures, as they usually are
    "loss curves": lambda: pictures.loss_curves([{"epoch": 1, "held_out_loss": 2.0, "held_out_normalized_squared_error":
                                                  1.0, "held_out_psnr": 20.0, "held_out_kl_to_the_prior": 1.0}] * 2),
    "one loss curve": lambda: pictures.loss_curves([{"epoch": 1, "held_out_weighted_squared_error_of_the_image": 2.0}]),
    "codebook": lambda: pictures.codebook_use({"top": np.arange(512), "bottom": np.arange(512)}),
    "KL": lambda: pictures.kl_per_dimension(np.linspace(0, 1, 1024)),
    "information of one factor": lambda: latents.information_figure(SimpleNamespace(
        nats=np.full((2, 1), 0.5), entropies=np.ones(1), names=["label"], gaps=[0.1], mig=0.15)),
    "one image": lambda: latents.grid_figure(
        IMAGES[:1].reshape(1, 1, 8, 8, 3), "vae", SimpleNamespace(has_prior=False)),
    "one reconstruction": lambda: pictures.image_rows(
        [("original", IMAGES[:1]), ("vqvae", IMAGES[:1])], "held-out images of shapes and their reconstructions"),
    "one sample": lambda: pictures.image_rows([("", IMAGES[:1])], "vqvae samples: codes drawn one by one by their "
                                              "frequency of use; no prior was learned"),
    **{name: partial(make, "shapes") for name, (make, _) in FIGURES.items()},
}


@pytest.mark.parametrize("figure", USUAL)
def test_no_text_of_a_picture_is_clipped(figure, drawn):
    """Titles, the names of axes and the entries of legends lie within the picture."""
    figure = USUAL[figure]()
    drawn(figure)
    width, height = figure.canvas.get_width_height()
    texts = [figure._suptitle] if figure._suptitle else []
    for axes in figure.axes:
        texts += [axes.title, *(axes.get_legend().get_texts() if axes.get_legend() else ())]
        texts += [axes.xaxis.label, axes.yaxis.label] if axes.axison else []
    shown = [text for text in texts if text.get_text()]
    assert shown
    for text in shown:
        box = text.get_window_extent(figure.canvas.get_renderer())
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text


def test_titles_and_images_keep_apart(drawn):
    for heading in ("one line", "two\nlines", LONG):
        figure = pictures.image_rows([("a", IMAGES[:3]), ("b", IMAGES[:3])], heading)
        drawn(figure)
        bottom = figure._suptitle.get_window_extent(figure.canvas.get_renderer()).y0
        assert bottom >= max(axes.get_window_extent().y1 for axes in figure.axes)


def test_rows_of_long_labels_keep_apart(drawn):
    figure = pictures.image_rows([("W" * 200, IMAGES), ("W" * 199, IMAGES)], "title")
    drawn(figure)
    first, second = (text.get_window_extent(figure.canvas.get_renderer()) for text in figure.texts[-2:])
    assert first.y0 >= second.y1


def test_a_title_that_fits_stays_on_one_line():
    assert "\n" not in pictures.image_rows([("a", IMAGES)], "held-out images of shapes")._suptitle.get_text()
    figure = pictures.kl_per_dimension(np.linspace(0, 3, 32))
    assert figure.axes[0].get_title() == "rate: 48 nats, over 32 dimensions, on the held-out images"


def test_an_empty_label_is_no_entry_of_a_legend():
    """In a sweep over one option there is a single line, which needs no name."""
    rows = [{**row(""), "settings": {"beta": beta}} for beta in ("1", "2")]
    figure = sweeps.rate_distortion_curve({"beta": ["1", "2"]}, rows)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["ELBO -3, the best"]


# --- the helpers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*NAMES, "$", "$$", r"\$", r"\\$", "$$$", "two\nlines $", "a$b\\"])
def test_literal_text_is_no_mathematics(text, drawn):
    figure = pyplot.Figure()
    figure.text(0.5, 0.5, literal(text))
    assert drawn(figure) == text.split("\n")


@pytest.mark.parametrize("text", [LONG, "W" * 200, "one two three", "", "a", " ", "two\nlines", "a  b " * 30])
@pytest.mark.parametrize("inches", [0.01, 0.5, 3.0])
def test_folded_lines_are_narrow_and_hold_every_letter(text, inches):
    lines = fold(text, inches, 10).split("\n")
    assert without_spaces("".join(lines)) == without_spaces(text)
    assert all(width_of(line, 10) <= inches or len(line) == 1 for line in lines)


def test_lines_are_cut_between_words_where_they_can_be():
    text = "held-out images of a folder and their reconstructions"
    lines = fold(text, 2, 10).split("\n")
    assert len(lines) > 1 and " ".join(lines) == text


def test_a_width_is_what_is_drawn(drawn):
    figure = pyplot.Figure()
    text = figure.text(0, 0.5, "held-out images of shapes", fontsize=10)
    drawn(figure)
    extent = text.get_window_extent(figure.canvas.get_renderer())
    assert width_of("held-out images of shapes", 10) == pytest.approx(extent.width / DPI)
