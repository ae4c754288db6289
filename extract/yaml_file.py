"""Reading YAML that is settings and nothing else: plain values, each key once."""

import re
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from ..cache import SpaceClipError

_MAX_BYTES = 100_000
_MAX_DEPTH = 20


class _Loader(yaml.SafeLoader):
    """A date stays the text that it is, `1e-3` is a number as in YAML 1.2, and a key that stands twice is refused."""

    yaml_implicit_resolvers = {  # noqa: RUF012, PyYAML's own way
        first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith(":timestamp")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    raise _error(f"{key.value} stands in line {lines[key.value]} already; keep one", key.start_mark)
                lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file of settings.

    Raises:
        SpaceClipError: It cannot be read, is no YAML, or holds what settings need not: a key twice, an alias, a tag,
            nesting without end.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SpaceClipError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from error
    if len(content) > _MAX_BYTES:
        raise SpaceClipError(f"{path}: over {_MAX_BYTES:,} bytes, expected a file of settings")
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes | str, where: str) -> Any:
    """The content of YAML that is settings.

    Args:
        content: The YAML.
        where: Its source, for the message.

    Raises:
        SpaceClipError: As `read_yaml`.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        _require_plain(text)
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise SpaceClipError(f"{where}: not YAML: {line}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise SpaceClipError(f"{where}: not YAML: {' '.join(str(error).split())}") from error


def _require_plain(text: str) -> None:
    """Refuse aliases, tags and deep nesting before anything is built of them."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise _error(f"nested more than {_MAX_DEPTH} deep", event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            raise _error(f"alias *{event.anchor}; write the settings out", event.start_mark)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _error(f"tag {tag}; give a plain value", event.start_mark)


def _error(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
