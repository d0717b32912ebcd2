"""The endpoints for programs, called over HTTP by Gradio's own client."""

from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
from gradio_client import Client  # type: ignore[import-untyped]
from gradio_client.exceptions import AppError  # type: ignore[import-untyped]

from tests.page.page_site import START_S, Server


def test_programs_find_named_endpoints_that_explain_themselves(server: Server) -> None:
    client = Client(server.url, verbose=False)
    described = client.view_api(return_format="dict")["named_endpoints"]
    assert set(described) == {"/list_adms", "/list_layers", "/generate_pair", "/study"}
    assert all(len(endpoint["description"]) > 40 for endpoint in described.values())
    assert server.adm in [card["id"] for card in client.predict(api_name="/list_adms")]
    found = client.predict(server.adm, "w4a8", api_name="/list_layers")
    assert {row["w_bits"] for row in found["layers"]} == {4, 8, 16}
    with pytest.raises(AppError, match="the nearest is 'w4a8'"):
        client.predict(server.adm, "w4a", api_name="/list_layers")


def test_a_program_runs_a_study_and_hears_a_pair(server: Server) -> None:
    client = Client(server.url, verbose=False)
    asked = {"adm": "tiny", "preset": "w8a8", "seed": 3, "steps": 2}
    report = client.predict(prompts=["a dog barks", "rain falls"], **asked, api_name="/study")
    assert [pair["prompt"] for pair in report["pairs"]] == ["a dog barks", "rain falls"]
    assert report["plan"]["name"] == "w8a8"
    assert report["size"]["pipeline"]["reduction_pct"] > 0
    assert 0 < report["calibration"]["coverage"]["sources"] <= 1
    pair = client.predict(prompt="a dog barks", **asked, api_name="/generate_pair")
    sounds = [_fetched(urljoin(server.url, pair[key])) for key in ("reference", "quantized")]
    assert all(sound.startswith(b"fLaC") for sound in sounds)
    assert pair["reference"] != pair["quantized"]
    assert pair["paired"]["latent_sqnr_db"] > 0
    for prompts, said in (([], "no prompt yet"), (["a dog barks", " "], "Prompt 2 is empty")):
        with pytest.raises(AppError, match=said):
            client.predict(prompts=prompts, **asked, api_name="/study")


def _fetched(url: str) -> bytes:
    with urlopen(url, timeout=START_S) as response:
        return bytes(response.read())
