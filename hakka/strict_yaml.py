"""YAML in which a key comes once in a mapping, as YAML itself asks; PyYAML would silently keep the last of them."""

from typing import Any

import yaml

from hakka.texts import short

try:  # the C parser is ten times faster, but not every build of PyYAML has it
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]


class RepeatedKey(yaml.YAMLError):
    """A mapping has a key twice."""


def load_yaml(content: str | bytes, loader: Any = SafeLoader) -> Any:
    """The value of YAML, made by one of PyYAML's loaders.

    Raises:
        RepeatedKey: a mapping in it has a key twice.
        yaml.YAMLError: it is no YAML, or none that the loader takes.
    """
    parser = loader(content)
    try:
        root = parser.get_single_node()
        if root is None:
            return None
        _check_keys(root)
        return parser.construct_document(root)
    except ValueError as error:  # a date or a number that cannot be, such as 2024-02-30
        raise yaml.YAMLError(str(error)) from None
    finally:
        parser.dispose()


def _check_keys(root: yaml.Node) -> None:
    """Look at every node in the order of the text, and once, however many aliases stand for it."""
    waiting = [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.ScalarNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_mapping(node)
            waiting += reversed([part for pair in node.value for part in pair])
        else:
            waiting += reversed(node.value)


def _check_mapping(node: yaml.MappingNode) -> None:
    keys: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in keys:
                line = key.start_mark.line + 1
                raise RepeatedKey(f"a key must come once in a mapping, got {short(key.value)} again in line {line}")
            keys.add((key.tag, key.value))
