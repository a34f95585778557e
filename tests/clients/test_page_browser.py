"""The page in headless Chromium, against a real server: as a person would use it, often without a mouse."""

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from derailleur.placement.presets import Preset, PresetQuality, Presets, PresetSpeed, load_presets

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
expect = playwright.expect

CODE = "x"  # of which the model of these tests makes more than 200 tokens
SECONDS = 60_000  # for what waits for the model, milliseconds


@pytest.fixture(scope="module")
def served(serve: Callable[..., Any]) -> Iterator[Any]:
    with serve("--draft", "ngram", "--drafting", "always") as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open the page; no other host may be asked, and nothing may go wrong in it."""
    problems: list[str] = []
    contexts = []

    def opened(address: str, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()

        def guard(route: Any) -> None:
            if route.request.url.startswith((f"{address}/", "data:")):
                route.continue_()
            else:
                problems.append(route.request.url)
                route.abort()

        context.route("**/*", guard)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.goto(f"{address}/")
        return page

    yield opened
    for context in contexts:
        context.close()
    refusals = [problem for problem in problems if "status of 40" in problem]
    assert problems == refusals


@pytest.fixture
def page(visit: Callable[..., Any], served: Any) -> Any:
    page = visit(served.address)
    expect(page.locator(".pane")).to_have_count(2)
    return page


@pytest.fixture
def expected(served: Any) -> Callable[..., str]:
    """What the interface answers to what the page should ask."""

    def ask(**body: object) -> str:
        asked = {"temperature": 0, "draft": "none", "max_tokens": 128, **body}
        answer = httpx.post(f"{served.address}/v1/completions", json=asked, timeout=60)
        return answer.json()["choices"][0]["text"]

    return ask


def run(page: Any) -> list[dict[str, Any]]:
    """Press the keys that run; gives the bodies that were sent, when all is written."""
    bodies: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.url.endswith("/v1/completions"):
            bodies.append(request.post_data_json)

    page.on("request", note)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#run")).to_have_text("Run", timeout=SECONDS)
    page.remove_listener("request", note)
    return bodies


def shown(page: Any, name: str) -> list[str]:
    """A number of both columns."""
    return page.locator(f"[data-of={name}]").all_text_contents()


def focused(page: Any) -> str:
    """What has the focus, and that this can be seen."""
    seen = page.evaluate(
        """() => {
            const active = document.activeElement;
            const { outlineStyle } = getComputedStyle(active);
            const { boxShadow } = getComputedStyle(active.closest(".card") || active);
            const seen = outlineStyle != "none" || boxShadow != "none";
            return [active.id || active.className || active.tagName, seen];
        }"""
    )
    assert seen[1], f"the focus on {seen[0]} cannot be seen"
    return seen[0]


def test_two_presets_stream_what_the_interface_says(page: Any, expected: Callable[..., str]) -> None:
    page.locator("#code").fill(CODE)
    bodies = run(page)
    texts = [expected(prompt=CODE, preset=preset) for preset in ("full", "fast")]
    assert page.locator(".new").all_text_contents() == texts
    assert [body["preset"] for body in bodies] == ["full", "fast"]
    assert {body["draft"] for body in bodies} == {"ngram"}
    assert page.locator(".strip").all_text_contents() == ["FFFF", "GGGG"]
    assert page.locator(".before").all_text_contents() == [CODE, CODE]
    assert all(float(speed) > 0 for speed in shown(page, "speed"))
    assert all(first.endswith(" ms") for first in shown(page, "first"))
    rows = [row.split("\t") for row in page.locator("#runs tbody").inner_text().splitlines()]
    assert [row[:2] for row in rows] == [["fast", "ngram"], ["full", "ngram"]]
    page.locator("#together").select_option("together")
    run(page)
    assert page.locator(".new").all_text_contents() == texts
    assert page.locator("#runs tbody tr").count() == 4


def test_accepted_drafts_are_coloured(page: Any, expected: Callable[..., str]) -> None:
    """A placement accepts all that it drafted itself, so that only the last token of each step is not."""
    page.locator("#code").fill(CODE)
    page.locator(".draft").nth(0).select_option("full")
    page.locator(".draft").nth(1).select_option("none")
    run(page)
    drafted, plain = page.locator(".new").nth(0), page.locator(".new").nth(1)
    pieces = drafted.locator("span").evaluate_all("parts => parts.map(p => [p.className, p.textContent])")
    assert {kind for kind, _ in pieces} == {"accepted", "own"}
    assert all(a[0] != b[0] for a, b in pairwise(pieces))
    assert "".join(text for _, text in pieces) == expected(prompt=CODE, preset="full")
    assert plain.locator(".accepted").count() == 0 and plain.locator(".own").count() == 1
    colour = "part => getComputedStyle(part).backgroundColor"
    legend = page.locator(".legend .accepted").first
    assert drafted.locator(".accepted").first.evaluate(colour) == legend.evaluate(colour)
    assert drafted.locator(".own").first.evaluate(colour) != legend.evaluate(colour)
    assert shown(page, "accepted")[0] == "100 %" and float(shown(page, "length")[0]) > 2
    expect(page.locator("[data-of=accepted]").nth(0)).to_be_visible()
    expect(page.locator("[data-of=accepted]").nth(1)).to_be_hidden()


def test_the_slider_says_how_much_context_is_sent(page: Any, tokenizer: Any) -> None:
    code = "".join(f"value_{i} = load({i})\n" for i in range(40))
    ids = tokenizer.encode(code)
    page.locator("#code").fill(code)
    output, slider = page.locator("output[for=context]"), page.locator("#context")
    expect(output).to_have_text(f"{len(ids)} tokens")
    assert [body["prompt"] for body in run(page)] == [ids, ids]
    slider.focus()
    for _ in range(32):
        page.keyboard.press("ArrowLeft")
    half = (len(ids) + 1) // 2
    expect(output).to_have_text(f"{half} of {len(ids)} tokens")
    assert slider.get_attribute("aria-valuetext") == f"{half} of {len(ids)} tokens"
    assert [body["prompt"] for body in run(page)] == [ids[-half:]] * 2
    assert shown(page, "prompt") == [str(half)] * 2
    assert page.locator(".before").first.text_content() == "… " + tokenizer.decode(ids[-half:])
    page.keyboard.press("Home")
    assert [len(body["prompt"]) for body in run(page)] == [-(-len(ids) // 64)] * 2


def test_what_is_too_long_is_cut_to_the_context(page: Any, tokenizer: Any) -> None:
    code = "größe = '→ 日本 🚲'\n" * 200
    page.locator("#code").fill(code)
    ids = tokenizer.encode(code)
    expect(page.locator("output[for=context]")).to_have_text(f"896 of {len(ids):,} tokens")
    assert run(page)[0]["prompt"] == ids[-896:]
    expect(page.locator("#message")).to_be_hidden()


def test_a_gap_is_filled_in(page: Any, expected: Callable[..., str], tokenizer: Any) -> None:
    page.locator("#code").fill("a = \nb = 2")
    page.locator("#code").evaluate("code => code.setSelectionRange(4, 4)")
    page.keyboard.press("Control+m")
    assert page.locator("#code").input_value() == "a = ▮\nb = 2"
    page.keyboard.press("Control+m")
    assert page.locator("#code").input_value() == "a = ▮\nb = 2"
    [body, _] = run(page)
    assert (body["prompt"], body["suffix"]) == ("a = ", "\nb = 2")
    assert page.locator(".new").first.text_content() == expected(
        prompt="a = ", suffix="\nb = 2", preset="full"
    )
    assert page.locator(".after").first.text_content() == "\nb = 2"
    # The side that is short leaves its share to the other one.
    before = "alpha = 1\n" * 30
    page.locator("#code").fill(f"{before}▮\nb = 2")
    page.locator("#context").fill("16")
    [body, _] = run(page)
    assert body["suffix"] == "\nb = 2" and before.endswith(body["prompt"])
    total = len(tokenizer.encode(before)) + len(tokenizer.encode("\nb = 2"))
    num_sent = len(tokenizer.encode(body["prompt"])) + len(tokenizer.encode(body["suffix"]))
    assert abs(num_sent - -(-total // 4)) <= 1


def test_escape_stops_the_server_too(page: Any, served: Any) -> None:
    page.locator("#code").fill(CODE)
    page.locator("#max").fill("512")
    # Pressed in the page itself, at the first text: from out here it could come too late.
    page.evaluate(
        """() => new MutationObserver((_, observer) => {
            observer.disconnect();
            window.labelled = document.querySelector("#run").textContent;
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
        }).observe(document.querySelector(".new"), { childList: true })"""
    )
    assert len(run(page)) == 1
    served.until_idle()
    assert page.evaluate("window.labelled") == "Stop"
    assert 0 < len(page.locator(".new").first.text_content()) < 100
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    expect(page.locator("#message")).to_be_hidden()
    expect(page.locator("#runs")).to_be_hidden()


def test_everything_without_a_mouse(page: Any, expected: Callable[..., str]) -> None:
    """Every control is reached, in the order of reading, and the focus is always to be seen."""
    page.locator("#code").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("def f(x):\n")
    page.keyboard.press("Tab")
    page.keyboard.type("return")
    assert page.locator("#code").input_value() == "def f(x):\n    return"
    page.keyboard.press("Escape")
    order = [focused(page)]
    while order[-1] != "BODY" and len(order) < 30:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        order.append(focused(page))
        if order[-1] == "max":
            for _ in range(20):
                page.keyboard.press("ArrowLeft")
        if order[-1] == "preset" and order.count("preset") == 2:
            page.keyboard.type("bal")
    column = ["preset", "draft", "plain close", "PRE"]
    assert order == ["code", "context", "max", "heat", "together", "run", *column, *column]
    run(page)
    text = "def f(x):\n    return"
    assert page.locator(".new").all_text_contents() == [
        expected(prompt=text, preset=preset, max_tokens=8) for preset in ("full", "balanced")
    ]
    page.locator(".close").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".pane")).to_have_count(1)
    assert focused(page) == "preset"
    page.locator("#compare").focus()
    page.keyboard.press("Space")
    expect(page.locator(".pane")).to_have_count(2)
    for sample in page.locator("[data-sample]").all():
        sample.focus()
        page.keyboard.press("Enter")
        assert focused(page) == "code"


def test_any_placement_and_the_error_of_a_bad_one(page: Any, expected: Callable[..., str]) -> None:
    page.locator("#code").fill(CODE)
    page.locator(".preset").first.select_option("other placement")
    page.locator(".placement").first.fill("2F 2G")
    run(page)
    assert page.locator(".strip").first.text_content() == "FFGG"
    assert page.locator(".new").first.text_content() == expected(prompt=CODE, placement="FFGG")
    page.locator(".placement").first.fill("FFX")
    run(page)
    expect(page.locator("#message")).to_contain_text("FFX")
    expect(page.locator("#message")).to_have_attribute("role", "alert")
    page.locator(".placement").first.fill("all-gdn")
    run(page)
    expect(page.locator("#message")).to_be_hidden()


def test_auto_says_what_it_took(
    serve: Callable[..., Any], visit: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    measured = tmp_path / "model"
    shutil.copytree(folder, measured)
    regimes = [(batch, context) for batch in (1, 16) for context in (512, 4096)]
    details = [
        Preset(
            name=name,
            placement=placement,
            quality=PresetQuality(measured=-1.0 - place),
            speed=tuple(PresetSpeed(batch=b, context=c, measured=10.0**place) for b, c in regimes),
        )
        for place, (name, placement) in enumerate(load_presets(folder).items())
    ]
    Presets(details).save(measured)
    bounds = ("--auto.best", "balanced", "--auto.fastest", "balanced")
    with serve("--preset", "auto", *bounds, model=measured) as served:
        page = visit(served.address)
        expect(page.locator(".preset").first).to_have_value("auto")
        assert page.locator(".strip").first.text_content() == ""
        page.locator("[data-sample=module]").press("Enter")
        page.locator("#max").fill("8")
        for _ in range(2):
            assert run(page)[0]["preset"] == "auto"
        assert page.locator(".took").all_text_contents() == ["→ balanced", ""]
        assert page.locator(".strip").all_text_contents() == ["FSKG", "GGGG"]
        assert page.locator("#runs td:first-child").last.text_content() == "auto → balanced"
        # The same text again: most of it is remembered, which the page does not hide.
        assert all(cached.endswith(" cached") for cached in shown(page, "cached"))
        page.locator(".preset").first.select_option("fast")
        assert page.locator(".took").first.text_content() == ""


def test_a_file_is_read_here(page: Any, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("x = 1\n" * 50, encoding="utf-8")
    with page.expect_file_chooser() as chosen:
        page.locator("#open").press("Enter")
    chosen.value.set_files(file)
    expect(page.locator("#code")).to_have_value("x = 1\n" * 50)


def test_a_key_is_asked_for(serve: Callable[..., Any], visit: Callable[..., Any], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-one\n", encoding="utf-8")
    keys.chmod(0o600)
    with serve("--api-key-file", str(keys)) as served:
        page = visit(served.address)
        expect(page.locator("#key")).to_be_focused()
        with page.expect_response("**/v1/presets") as refused:
            page.keyboard.type("sk-two")
            page.keyboard.press("Enter")
        assert refused.value.status == 401
        page.keyboard.press("Control+a")
        page.keyboard.type("sk-one")
        page.keyboard.press("Enter")
        expect(page.locator(".pane")).to_have_count(2)
        expect(page.locator("#message")).to_be_hidden()
        page.locator("#max").fill("8")
        run(page)
        expect(page.locator(".new").nth(1)).not_to_be_empty()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(visit: Callable[..., Any], served: Any, scheme: str) -> None:
    """Contrast of at least 4.5 (WCAG 2.2, 1.4.3), by day and by night; all fits 400 pixels."""
    page = visit(served.address, color_scheme=scheme, viewport={"width": 400, "height": 800})
    expect(page.locator(".pane")).to_have_count(2)
    page.locator(".draft").first.select_option("full")
    run(page)
    texts = ("#about", "label", "#code", "#run", ".own", ".accepted", ".before", ".numbers b", ".numbers div")
    colours = {
        text: page.locator(text if text[0] in "#l" or text == ".before" else f"{text}:not(i)").first.evaluate(
            """part => {
                const ground = (part) => getComputedStyle(part).backgroundColor;
                let behind = part;
                while (ground(behind) == "rgba(0, 0, 0, 0)") behind = behind.parentElement;
                return [getComputedStyle(part).color, ground(behind)];
            }"""
        )
        for text in texts
    }
    contrasts = {text: contrast(*pair) for text, pair in colours.items()}
    assert min(contrasts.values()) >= 4.5, contrasts
    assert (luminance(colours["#about"][1]) < 0.2) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`."""
    values = [int(value) / 255 for value in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)
