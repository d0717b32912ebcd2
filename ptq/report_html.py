"""A report as one self-contained HTML file with its clips inside."""

import base64
from html import escape
from pathlib import Path

from ptq.report import Report
from ptq.report_markdown import number, summary_rows

_MAX_PAIRS = 12
_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{padding:.35rem .6rem;text-align:left;
border-bottom:1px solid #8884}audio{width:100%;max-width:18rem}figure{margin:0 0 1.5rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));gap:1rem}
"""


def _audio(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<audio controls preload="none" src="data:audio/flac;base64,{data}"></audio>'


def _rows(pairs: list[tuple[str, str]]) -> str:
    return "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in pairs)


def to_html(report: Report, run: Path) -> str:
    """Render the report; clips of the first pairs are inlined from the run folder."""
    figures = "".join(
        f"<figure><figcaption>{escape(pair.prompt)} · latent SQNR "
        f"{number(pair.paired.latent_sqnr_db, 1, ' dB')}</figcaption><div class='pair'>"
        f"<div>full precision<br>{_audio(run / pair.reference)}</div>"
        f"<div>{escape(report.plan.name)}<br>{_audio(run / pair.quantized)}</div></div></figure>"
        for pair in report.pairs[:_MAX_PAIRS]
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes) or "<li>None.</li>"
    title = escape(f"{report.adm.id}: {report.plan.name}")
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}</h1><table>{_rows(summary_rows(report))}</table>"
        f"<h2>Pairs</h2>{figures}<h2>Notes</h2><ul>{notes}</ul></html>\n"
    )
