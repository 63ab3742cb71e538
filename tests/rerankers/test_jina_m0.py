"""jina-reranker-m0 against the scores of its publisher's code, text and image on either side."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from pipeline import schema
from pipeline.api import Ranker, load
from pipeline.candidates import reasons
from pipeline.candidates.inputs import open_input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.engine.packing import gather
from pipeline.engine.scoring import document_scores
from pipeline.errors import ConfigurationError, ModelError
from pipeline.prompts.image_places import place_images
from pipeline.prompts.qwen2_vl import IMAGE, PLACE
from pipeline.sequences.sequences import Sequences

GOLDEN = Path(__file__).parents[1] / "goldens/jina-reranker-m0"
CASES = [json.loads(line) for line in (GOLDEN / "cases.jsonl").read_text().splitlines()]
ERRORS = {
    case["id"]: case
    for case in map(json.loads, (GOLDEN / "upstream_errors.jsonl").read_text().splitlines())
}
TRACE = json.loads((GOLDEN / "trace_t2i_odd.json").read_text())
IMAGE_PAD = "<|image_pad|>"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ranker(**options: Any) -> Ranker:
    images = {"base": str(GOLDEN), **options.pop("images", {})}
    return load(str(GOLDEN), family="jina_m0", device="cpu", images=images, **options)


@pytest.fixture(scope="module")
def default() -> Ranker:
    return ranker(max_length=2_048)


def listed(query: dict[str, Any], documents: list[dict[str, Any]]) -> CandidateLists:
    """One candidate list of sides as the golden's cases write them."""
    plain = CandidateLists.from_texts(query.get("text", ""), [d.get("text") for d in documents])
    images = pa.array([d.get("image") for d in documents], pa.string())
    queries = plain.queries
    if "image" in query:
        queries = queries.append_column(schema.IMAGE, pa.array([query["image"]]))
    documents_table = plain.documents.append_column(schema.IMAGE, images)
    return replace(plain, queries=queries, documents=documents_table)


def joined(cases: list[dict[str, Any]]) -> CandidateLists:
    """The lists of many cases as one unit."""
    parts = [listed(case["query"], case["documents"]) for case in cases]
    sizes = [part.documents.num_rows for part in parts]
    return CandidateLists(
        queries=pa.concat_tables([part.queries for part in parts], promote_options="default"),
        offsets=np.append(0, np.cumsum(sizes)).astype(np.int64),
        documents=pa.concat_tables([part.documents for part in parts]),
    )


def split(sequences: Sequences) -> Iterator[list[int]]:
    sequences = sequences.unshared()
    for start, stop in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        yield sequences.token_ids[start:stop].tolist()


def scores_and_reasons(model: Ranker, lists: CandidateLists) -> tuple[np.ndarray, list[str | None]]:
    """What the commit stage of a run would write."""
    sequences = Sequences.from_ipc(model.engine.reranker.encode(lists).to_ipc())
    sequences, readouts = model.engine.run(lists, sequences)
    scores, codes = document_scores(model.engine.reranker, lists, sequences, readouts)
    return scores, codes.tolist()


class TestGoldens:
    @pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
    def test_scores_and_ids(self, case: dict[str, Any]) -> None:
        if "gray16" in str(case) and int(Image.__version__.split(".")[0]) < 13:
            pytest.skip("Pillow before 13 converts 16-bit grey in another way")
        model, expected = ranker(**case["kwargs"]), case["expected"]
        lists = listed(case["query"], case["documents"])
        np.testing.assert_allclose(model.score_lists(lists), expected["scores"], atol=2e-5, rtol=0)
        sequences = model.engine.reranker.encode(lists)
        digests = [hashlib.sha256(json.dumps(ids).encode()).hexdigest() for ids in split(sequences)]
        assert digests == expected["input_ids_sha256"]
        assert sequences.links[schema.N_TOKENS].tolist() == expected["n_tokens"]

    @pytest.mark.parametrize("token_budget", [1, 700, 100_000])
    def test_neighbours_and_batches_change_nothing(self, token_budget: int) -> None:
        chosen = ("mixed_candidates", "i2t", "t2i_tiny_20x20", "i2i")
        cases = [case for case in CASES if case["id"] in chosen]
        model = ranker(max_length=2_048, token_budget=token_budget)
        for order in (cases, cases[::-1]):
            expected = np.concatenate([case["expected"]["scores"] for case in order])
            scores = model.score_lists(joined(order))
            np.testing.assert_allclose(scores, expected, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("token_budget", [900, 100_000])
    def test_a_page_read_once_for_many_queries_scores_as_read_for_each(
        self, token_budget: int
    ) -> None:
        documents = [
            {"image": "images/halfway_70x42.png"},
            {"text": "coffee price increase"},
            {"image": "images/exact_56x56.png"},
        ]
        queries = [{"text": "coffee"}, {"text": "tea"}, {"image": "images/exact_56x56.png"}]
        lists = joined([{"query": query, "documents": documents} for query in queries])
        ways = [
            ranker(max_length=2_048, token_budget=token_budget, **way)
            for way in ({}, {"share_prefixes": False}, {"packing": "padded"})
        ]
        scores = [model.score_lists(lists) for model in ways]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-5, rtol=0)
        np.testing.assert_allclose(scores[0], scores[2], atol=1e-5, rtol=0)
        tokens = [model.engine.statistics.tokens for model in ways]
        assert tokens[0] < tokens[1] == tokens[2]

    def test_bytes_and_structs_score_as_paths(self, default: Ranker) -> None:
        case = next(case for case in CASES if case["id"] == "i2i")
        lists = listed(case["query"], case["documents"])
        data = [(GOLDEN / d["image"]).read_bytes() for d in case["documents"]]
        structs = [{"bytes": None, "path": d["image"]} for d in case["documents"]]
        index = lists.documents.column_names.index(schema.IMAGE)
        for column in (pa.array(data), pa.array(structs)):
            other = replace(
                lists, documents=lists.documents.set_column(index, schema.IMAGE, column)
            )
            np.testing.assert_array_equal(
                default.score_lists(other), default.score_lists(lists), strict=True
            )

    @pytest.mark.parametrize("layout", ["long", "nested"])
    def test_parquet_with_texts_and_images(
        self, default: Ranker, tmp_path: Path, layout: str
    ) -> None:
        case = next(case for case in CASES if case["id"] == "mixed_candidates")
        rows = [
            {
                "doc_id": str(place),
                "text": document.get("text"),
                "image": {"bytes": None, "path": document["image"]}
                if "image" in document
                else None,
            }
            for place, document in enumerate(case["documents"])
        ]
        query = {"query_id": "q", "query": case["query"]["text"]}
        long = [{**query, **row} for row in rows]
        table = pa.Table.from_pylist(long if layout == "long" else [{**query, "candidates": rows}])
        pq.write_table(table, tmp_path / "candidates.parquet")
        source = open_input(InputConfig(path=(str(tmp_path),)))
        lists = CandidateLists.from_ipc(read_lists(source, 0, source.rows).to_ipc())
        scores = default.score_lists(lists)
        np.testing.assert_allclose(scores, case["expected"]["scores"], atol=2e-5, rtol=0)


class TestTrace:
    def test_every_step(self, default: Ranker) -> None:
        lists = listed({"text": TRACE["query"]}, [{"image": TRACE["image"]}])
        reranker = default.engine.reranker
        sequences = reranker.encode(lists)
        assert list(split(sequences)) == [TRACE["input_ids"]]
        batch = gather(sequences, np.array([0]), torch.device("cpu"))
        placement = place_images(batch, reranker.layout)
        assert placement.positions.tolist() == TRACE["position_ids_t_h_w"]
        network: Any = reranker.network
        with torch.inference_mode():
            (vision,) = network.image_tokens(sequences.images)
            head = network.score
            hidden: list[torch.Tensor] = []
            hook = head.register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
            logit = reranker.forward(batch)
            hook.remove()
        close = {"atol": 1e-4, "rtol": 0}
        np.testing.assert_allclose(vision[0].numpy(), TRACE["vision_output_row0"], **close)
        np.testing.assert_allclose(vision[-1].numpy(), TRACE["vision_output_last_row"], **close)
        np.testing.assert_allclose(hidden[0][0].numpy(), TRACE["last_hidden"], **close)
        np.testing.assert_allclose(logit.numpy(), [[TRACE["raw_logit"]]], **close)

    def test_patches_are_the_published_pixel_values(self, default: Ranker) -> None:
        expected = load_file(GOLDEN / "pixel_values_small.safetensors")
        documents = [{"image": f"images/{name}"} for name in expected]
        images = default.engine.reranker.encode(listed({"text": ""}, documents)).images
        network: Any = default.engine.reranker.network
        flat = network._patches(images)[:, :, None].expand(-1, -1, 2, -1).flatten(1)
        assert torch.equal(flat, torch.cat(list(expected.values())))


class TestImages:
    def test_each_distinct_image_is_encoded_once_per_batch(self, default: Ranker) -> None:
        data = (GOLDEN / "images/noise_84x84.png").read_bytes()
        one = listed(
            {"image": "images/exact_56x56.png"},
            [{"image": "images/noise_84x84.png"}, {"image": "images/exact_56x56.png"}] * 3,
        )
        sequences = default.engine.reranker.encode(one)
        assert len(sequences.images) == 2
        assert sequences.links[IMAGE].tolist() == [[1, 0], [0, 0]] * 3
        network: Any = default.engine.reranker.network
        seen: list[int] = []
        hook = network.model.visual.register_forward_pre_hook(
            lambda _, args: seen.append(len(args[0]))
        )
        scores = default.score_lists(one)
        hook.remove()
        assert seen == [16 + 36]
        assert np.ptp(scores[::2]) < 1e-6 and np.ptp(scores[1::2]) < 1e-6
        index = one.documents.column_names.index(schema.IMAGE)
        same = replace(
            one, documents=one.documents.set_column(index, schema.IMAGE, pa.array([data] * 6))
        )
        assert len(default.engine.reranker.encode(same).images) == 2

    def test_a_bad_image_rejects_its_own_document_only(self, tmp_path: Path) -> None:
        model = ranker(max_length=2_048, images={"roots": [str(tmp_path)]})
        (tmp_path / "cut.png").write_bytes((GOLDEN / "images/noise_84x84.png").read_bytes()[:2000])
        case = next(case for case in CASES if case["id"] == "mixed_candidates")
        bad: list[dict[str, Any]] = [
            {"image": str(tmp_path / "cut.png")},
            {"image": "images/absent.png"},
            {"image": "https://example.com/a.png"},
            {"image": "images/line_6000x28.png"},
        ]
        good = case["documents"]
        scores, codes = scores_and_reasons(
            model, listed(case["query"], [*bad[:2], *good, *bad[2:]])
        )
        kept = slice(2, 2 + len(good))
        np.testing.assert_allclose(scores[kept], case["expected"]["scores"], atol=1e-5, rtol=0)
        assert codes[kept] == [None] * len(good)
        assert codes[:2] + codes[-2:] == [
            reasons.IMAGE_DECODE,
            reasons.IMAGE_FETCH,
            reasons.IMAGE_FETCH,
            reasons.IMAGE_LIMIT,
        ]
        assert np.isnan(scores[:2]).all() and np.isnan(scores[-2:]).all()

    def test_a_bad_query_image_rejects_its_documents(self, default: Ranker) -> None:
        lists = listed({"image": "images/absent.png"}, [{"text": "a"}, {"text": "b"}])
        scores, codes = scores_and_reasons(default, lists)
        assert codes == [reasons.IMAGE_FETCH] * 2 and np.isnan(scores).all()

    def test_literal_pads_beside_an_image_are_ordinary_tokens(self, default: Ranker) -> None:
        case = ERRORS["image_doc_with_image_pad_in_query_text"]
        lists = listed(case["query"], case["documents"])
        scores, codes = scores_and_reasons(default, lists)
        assert codes == [None] and np.isfinite(scores).all()
        reranker = default.engine.reranker
        sequences = reranker.encode(lists)
        pad = reranker.layout.image_pad
        pads = np.flatnonzero(sequences.token_ids == pad)
        assert len(pads) == 4 + 1
        batch = gather(sequences, np.array([0]), torch.device("cpu"))
        placement = place_images(batch, reranker.layout)
        assert placement.targets.tolist() == pads[:4].tolist()
        assert (np.diff(placement.positions[:, pads[3] + 1 :], axis=1) == 1).all()

    def test_what_is_scored_of_a_document_with_both(self) -> None:
        both = [{"text": "coffee price", "image": "images/noise_84x84.png"}]
        query = {"text": "price"}
        image = ranker().score_lists(listed(query, [{"image": both[0]["image"]}]))
        text = ranker().score_lists(listed(query, [{"text": both[0]["text"]}]))
        assert image != text
        assert ranker().score_lists(listed(query, both)) == image
        assert ranker(prefer="text").score_lists(listed(query, both)) == text
        empty = [{"text": "", "image": both[0]["image"]}]
        assert ranker(prefer="text").score_lists(listed(query, empty)) == image

    @pytest.mark.parametrize("packing", ["packed", "padded"])
    def test_image_and_text_together_where_both_are_preferred(self, packing: str) -> None:
        """The template that upstream has for one of them; it has no scores to compare with."""
        image = {"image": "images/noise_84x84.png"}
        documents = [image, {"text": "coffee price"}, {"text": "coffee price?", **image}]
        query = {"text": "price", **image}
        one = ranker(prefer="both", packing=packing)
        tokenizer = one.engine.reranker.tokenizer
        pictured = f"<|vision_start|>{IMAGE_PAD * 9}<|vision_end|>"
        shown = [pictured, "coffee price", f"{pictured}coffee price?"]
        whole = [
            [*tokenizer.words([f"**Document**:\n{d}\n**Query**:\n{pictured}price"]).token_ids, 100]
            for d in shown
        ]
        sequences = one.engine.reranker.encode(listed(query, documents)).unshared()
        found = np.split(sequences.token_ids, sequences.offsets[1:-1])
        assert [ids.tolist() for ids in found] == whole
        scores = one.score_lists(listed(query, documents))
        assert len(np.unique(scores)) == 3 and np.isfinite(scores).all()
        alone = [listed({"text": "price"}, documents[:2]), listed(image, documents[:2])]
        for lists in alone:  # nothing has both
            usual = ranker(packing=packing).score_lists(lists)
            np.testing.assert_allclose(one.score_lists(lists), usual, rtol=0, atol=1e-6)

    def test_an_image_counts_as_part_of_its_documents_text(self) -> None:
        documents = [{"text": "price " * n, "image": "images/noise_84x84.png"} for n in (4, 90)]
        one = ranker(prefer="both", max_length=64, max_query_length=24).engine.reranker
        sequences = one.encode(listed({"text": "coffee"}, documents)).unshared()
        assert sequences.links[schema.TRUNCATED].tolist() == [0, 1]
        ids = np.split(sequences.token_ids, sequences.offsets[1:-1])
        tail = [*one.tokenizer.words(["\n**Query**:\ncoffee"]).token_ids, 100]
        assert [part.tolist()[-len(tail) :] for part in ids] == [tail] * 2
        head = one.tokenizer.words(["**Document**:\n"]).token_ids
        assert len(ids[1]) == len(head) + 40 + len(tail)

    def test_limits_and_pixels_are_settable(self) -> None:
        documents = [{"image": "images/photo_640x480.png"}]
        lists = listed({"text": "q"}, documents)
        small = ranker(max_pixels=28 * 28 * 20).engine.reranker.encode(lists)
        assert small.images[0].shape == (84, 140, 3)
        for limit in ({"max_bytes": 100}, {"max_pixels": 100_000}):
            assert ranker(images=limit).engine.reranker.encode(lists).rejected == (
                (0, reasons.IMAGE_LIMIT),
            )

    @pytest.mark.parametrize(
        ("key", "now"),
        [
            ("image_base", "input.images.base"),
            ("images_allow_https", "input.images.https_hosts"),
            ("image_max_bytes", "input.images.max_bytes"),
            ("image_max_source_pixels", "input.images.max_pixels"),
            ("image_formats", "JPEG, PNG and WEBP"),
        ],
    )
    def test_settings_of_before_name_the_one_in_their_place(self, key: str, now: str) -> None:
        with pytest.raises(ConfigurationError, match=rf"'{key}' is .*{now}"):
            ranker(**{key: 1})

    def test_nothing_but_bytes_is_read_until_it_is_allowed(self) -> None:
        lists = listed({"text": "q"}, [{"image": str(GOLDEN / "images/photo_640x480.png")}])
        closed = load(str(GOLDEN), family="jina_m0", device="cpu")
        assert closed.engine.reranker.encode(lists).rejected == ((0, reasons.IMAGE_FETCH),)

    def test_no_documents_and_no_image_column(self, default: Ranker) -> None:
        assert default.score_lists(listed({"text": "q"}, [])).shape == (0,)
        assert np.isfinite(default.score("q", ["a", ""])).all()


class TestUpstreamErrors:
    """Where upstream stops, one document is rejected, or a sensible score is given."""

    @pytest.mark.parametrize("name", ["image_tokens_cut_by_max_length", "aspect_over_200"])
    def test_rejected(self, name: str) -> None:
        case = ERRORS[name]
        documents = [*case["documents"], {"text": "still scored"}]
        model = ranker(**case["kwargs"])
        scores, codes = scores_and_reasons(model, listed(case["query"], documents))
        assert codes == [reasons.IMAGE_LIMIT, None]
        assert np.isnan(scores[0]) and np.isfinite(scores[1])

    def test_query_image_cut_by_a_long_document(self) -> None:
        case = ERRORS["image_query_cut_by_long_doc"]
        documents = [*case["documents"], {"text": "short"}]
        model = ranker(**case["kwargs"])
        scores, codes = scores_and_reasons(model, listed(case["query"], documents))
        assert codes == [reasons.IMAGE_LIMIT, None]
        assert np.isfinite(scores[1])

    def test_small_images_are_enlarged_as_newer_versions_do(self, default: Ranker) -> None:
        case = ERRORS["tiny_20x20"]
        scores = default.score_lists(listed(case["query"], case["documents"]))
        expected = case["v2_transformers_5.23.0"]["scores"]
        np.testing.assert_allclose(scores, expected, atol=2e-5, rtol=0)

    def test_limits_that_do_not_fit(self) -> None:
        with pytest.raises(ConfigurationError, match=r"max_doc_length 512.*max_length 512"):
            ranker(**ERRORS["limits_over_max_length"]["kwargs"])


def test_the_image_must_fit_to_its_last_pad() -> None:
    documents = [{"image": "images/exact_56x56.png"}]
    lists = listed({"text": ""}, documents)
    reranker = ranker().engine.reranker
    ids = next(split(reranker.encode(lists)))
    fits = ids.index(reranker.layout.vision_end) + 1  # the score token in place of the image's end
    for length, rejected in ((fits, False), (fits - 1, True)):
        model = ranker(max_length=length, max_query_length=1, max_doc_length=1)
        assert bool(model.engine.reranker.encode(lists).rejected) == rejected


def test_truncated_is_told() -> None:
    model = ranker(max_length=64, max_query_length=8, max_doc_length=20)
    long = "the price of coffee rose " * 40
    links = model.engine.reranker.encode(listed({"text": "q"}, [{"text": long}, {"text": "a"}]))
    assert links.links[schema.TRUNCATED].tolist() == [1, 0]
    query_cut = model.engine.reranker.encode(listed({"text": long}, [{"text": "a"}]))
    assert query_cut.links[schema.TRUNCATED].tolist() == [1]


PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["\n", " ", "\r\n", "*", "**", ".", "\u0301", "é", IMAGE_PAD, "<|im_end|>"]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=5), st.lists(PIECES, max_size=5))
def test_tokenising_in_two_pieces_is_exact(
    default: Ranker, document: list[str], query: list[str]
) -> None:
    d, q = "".join(document), "".join(query)
    reranker = default.engine.reranker
    whole = f"**Document**:\n{d}\n**Query**:\n{q}"
    ids = reranker.tokenizer.library.encode(whole, add_special_tokens=False).ids
    assert list(split(reranker.encode(listed({"text": q}, [{"text": d}])))) == [[*ids, 100]]


class TestLoading:
    @pytest.fixture
    def edited(self, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], str]:
        def edit(change: Callable[[dict[str, Any]], None]) -> str:
            for name in GOLDEN.glob("*.json"):
                shutil.copy(name, tmp_path)
            tensors = load_file(GOLDEN / "model.safetensors")
            change(tensors)
            save_file(tensors, tmp_path / "model.safetensors")
            return str(tmp_path)

        return edit

    def test_nested_names_of_newer_files(self, edited: Any) -> None:
        def nest(tensors: dict[str, Any]) -> None:
            for name in list(tensors):
                if name.startswith("model."):
                    nested = name.replace("model.", "model.language_model.", 1)
                    tensors[nested] = tensors.pop(name)
                elif name.startswith("visual."):
                    tensors[f"model.{name}"] = tensors.pop(name)

        case = next(case for case in CASES if case["id"] == "mixed_candidates")
        model = load(
            edited(nest),
            family="jina_m0",
            device="cpu",
            images={"base": str(GOLDEN)},
            max_length=2_048,
        )
        scores = model.score_lists(listed(case["query"], case["documents"]))
        np.testing.assert_allclose(scores, case["expected"]["scores"], atol=2e-5, rtol=0)

    @pytest.mark.parametrize(
        "name",
        ["visual.merger.mlp.2.bias", "model.layers.2.mlp.down_proj.weight", "score.2.bias"],
    )
    def test_a_missing_tensor_is_named(self, edited: Any, name: str) -> None:
        with pytest.raises(ModelError, match=name.removeprefix("model.").replace(".", r"\.")):
            load(edited(lambda tensors: tensors.pop(name)), family="jina_m0")

    def test_a_renamed_tensor_is_named(self, edited: Any) -> None:
        def change(tensors: dict[str, Any]) -> None:
            tensors["visual.blocks.0.attn.qv.bias"] = tensors.pop("visual.blocks.0.attn.qkv.bias")

        with pytest.raises(ModelError, match=r"unexpected .*attn\.qv\.bias.*missing .*qkv\.bias"):
            load(edited(change), family="jina_m0")

    def test_a_wrong_shape_is_named(self, edited: Any) -> None:
        def change(tensors: dict[str, Any]) -> None:
            tensors["score.0.weight"] = tensors["score.0.weight"][:, :-1].contiguous()

        with pytest.raises(ModelError, match=r"score\.0\.weight' has shape \[64, 63\]"):
            load(edited(change), family="jina_m0")

    def test_another_architecture(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(ModelError, match="'bert', expected 'qwen2_vl'"):
            load(str(tmp_path), family="jina_m0")

    def test_the_head_and_the_sigmoid_run_in_float32(self) -> None:
        model = ranker(max_length=2_048, dtype="bfloat16")
        network: Any = model.engine.reranker.network
        body = {p.dtype for n, p in network.named_parameters() if not n.startswith("score.")}
        head = {p.dtype for p in network.score.parameters()}
        assert (body, head) == ({torch.bfloat16}, {torch.float32})
        assert network.levels.dtype == torch.float32
        case = CASES[0]
        scores = model.score_lists(listed(case["query"], case["documents"]))
        np.testing.assert_allclose(scores, case["expected"]["scores"], atol=0.1, rtol=0)
        rounded = torch.from_numpy(scores).bfloat16().float().numpy()
        assert (rounded != scores).mean() > 0.9


def test_rounding_by_images_of_any_size(default: Ranker) -> None:
    """Sizes around multiples of 28, all in one unit: places and positions agree with the ids."""
    images = []
    for height, width in [(1, 1), (27, 29), (28, 84), (83, 85), (300, 5), (42, 1_400)]:
        sink = io.BytesIO()
        Image.effect_noise((width, height), 60).save(sink, "PNG")
        images.append(sink.getvalue())
    plain = CandidateLists.from_texts("q", [None] * len(images))
    documents = plain.documents.append_column(schema.IMAGE, pa.array(images))
    lists = replace(plain, documents=documents)
    reranker = default.engine.reranker
    sequences = reranker.encode(lists)
    batch = gather(sequences, np.arange(len(images)), torch.device("cpu"))
    placement = place_images(batch, reranker.layout)
    pads = np.flatnonzero(sequences.token_ids == reranker.layout.image_pad)
    assert np.sort(placement.targets).tolist() == pads.tolist()
    assert len(placement.sources) == len(pads)
    assert (sequences.links[PLACE][:, 0] == 6).all()
    together = default.score_lists(lists)
    for place, image in enumerate(images):
        one = CandidateLists.from_texts("q", [None])
        documents = one.documents.append_column(schema.IMAGE, pa.array([image]))
        alone = default.score_lists(replace(one, documents=documents))
        np.testing.assert_allclose(alone[0], together[place], atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 3))
def test_shared_documents_stand_where_they_would_alone(
    default: Ranker, shown: list[int], questions: int
) -> None:
    """Positions and image tokens of shared prompts are those of the same prompts written out."""
    names = [None, "images/exact_56x56.png", "images/halfway_70x42.png", None]
    texts = ["plain words", None, None, "other words, more of them"]
    documents = [{"text": texts[i], "image": names[i]} for i in shown]
    cases = [
        {"query": {"text": f"query {'x' * n}"}, "documents": documents} for n in range(questions)
    ]
    reranker = default.engine.reranker
    sequences = reranker.encode(joined(cases))
    everyone = np.arange(sequences.leaves)
    together = gather(sequences, everyone, torch.device("cpu"))
    apart = gather(sequences.unshared(), everyone, torch.device("cpu"))
    here, there = (place_images(batch, reranker.layout) for batch in (together, apart))
    of_image = dict(zip(here.targets.tolist(), here.sources.tolist(), strict=True))
    assert len(of_image) == len(here.targets)
    found: dict[int, int] = {}
    parents = (
        together.parents if together.parents is not None else np.full(len(together.chosen), -1)
    )
    for row, chosen in enumerate(together.chosen):
        if chosen >= sequences.leaves:
            continue
        rows = [int(parents[row]), row] if parents[row] >= 0 else [row]
        places = np.concatenate([np.arange(*together.offsets[r : r + 2]) for r in rows])
        alone = np.arange(*apart.offsets[chosen : chosen + 2])
        assert here.positions[:, places].tolist() == there.positions[:, alone].tolist()
        for place, expected in zip(places.tolist(), alone.tolist(), strict=True):
            if place in of_image:
                found[expected] = of_image[place]
    assert found == dict(zip(there.targets.tolist(), there.sources.tolist(), strict=True))
