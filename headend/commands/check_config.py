"""``headend check-config``: what is wrong with a configuration, before it is put on air."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headend.commands import CLEAN, MISTAKE, in_sentences, result
from headend.tongue import current, tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check-config", epilog="Example: headend check-config configs/demo.yaml")(check_config)


@in_sentences
def check_config(
    config: Annotated[Path, typer.Argument(help="The configuration. 配置文件。", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="One JSON object. 输出 JSON。")] = False,
) -> int:
    """检查配置文件：逐句说明问题所在的行。 Say what is wrong with a configuration, in sentences with their lines.

    Exit status 0: it can go on air. 2: it is refused, or a file that it names is missing.
    """
    from headend.config import ConfigError, load_config
    from headend.tongue import choose

    try:
        loaded = load_config(config)
        refusals, findings = [], list(loaded.findings)
        choose(loaded.language)
    except ConfigError as refused:
        refusals, findings = refused.problems, []
    missing = [finding for finding in findings if finding.missing]
    good = not refusals and not missing
    if json:
        rows = [(problem, "refused") for problem in refusals]
        rows += [(problem, "missing" if problem.missing else "doubtful") for problem in findings]
        result(
            {
                "file": str(config),
                "ok": good,
                "problems": [
                    {"severity": severity, "line": problem.line, "zho": problem.zho, "eng": problem.eng}
                    for problem, severity in rows
                ],
            }
        )
    else:
        for problem in [*refusals, *findings]:
            print(problem.sentence(current()))
        if good:
            print(tell(f"{config}：可以开播。", f"{config}: it can go on air."))
    return CLEAN if good else MISTAKE
