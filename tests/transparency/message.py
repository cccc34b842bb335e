"""HTTP/1.1 messages as bytes: where an answer ends, and what differs between two messages, in words."""

from __future__ import annotations

import re
from collections import Counter
from difflib import SequenceMatcher

CRLF, END = b"\r\n", b"\r\n\r\n"
_LONG = 60
_VOLATILE = ("date",)


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Lines of the head, and what follows it."""
    head, _, body = data.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def interim(data: bytes) -> tuple[list[bytes], bytes]:
    """The 1xx answers before the final one (101 is final), and the rest."""
    found = []
    while re.match(rb"HTTP/1\.[01] 1(?!01)\d\d", data) and b"\r\n\r\n" in data:
        first, _, data = data.partition(b"\r\n\r\n")
        found.append(first + b"\r\n\r\n")
    return found, data


def complete(data: bytes, method: str = "GET") -> bool:
    """Whether `data` holds a whole final answer, as a client of HTTP/1.1 sees it (RFC 9112, section 6.3)."""
    data = interim(data)[1]
    if method == "HEAD" or re.match(rb"HTTP/1\.[01] (204|304|101)", data):
        return END in data
    return whole(data, without=False)


def whole(data: bytes, *, without: bool = True) -> bool:
    """Whether `data` holds a whole request, to the end of its body. without: what a message is that has no length."""
    if END not in data:
        return False
    lines, body = split(data)
    fields = {line.partition(b":")[0].strip().lower(): line.partition(b":")[2].strip().lower() for line in lines[1:]}
    if fields.get(b"transfer-encoding") == b"chunked":
        return payload(body)[1]
    return len(body) >= int(fields[b"content-length"]) if b"content-length" in fields else without


def payload(body: bytes) -> tuple[bytes, bool, list[int], bytes]:
    """A chunked body: its content, whether it ended, sizes of the chunks, trailers. A broken one ends where it breaks."""
    content, sizes = b"", list[int]()
    while (line := re.match(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n", body)) is not None:
        size, body = int(line[1], 16), body[line.end() :]
        if size == 0:
            end = body.startswith(b"\r\n") or b"\r\n\r\n" in body
            return content, end, sizes, body.partition(b"\r\n\r\n")[0].strip(b"\r\n")
        content += body[:size]
        sizes.append(size)
        if len(body) < size + 2:
            break
        body = body[size + 2 :]
    return content, False, sizes, b""


def short(data: bytes) -> str:
    """`data` as a word of the page."""
    text = data.decode("latin-1").encode("unicode_escape").decode()
    text = text if len(text) <= _LONG else f"{text[:24]}...{len(data)} bytes"
    return f"`{text}`" if text else "nothing"


def differences(before: bytes, after: bytes) -> list[str]:
    """What became of the message `before`."""
    (early, before), (early_now, after) = interim(before), interim(after)
    found = _interim(early, early_now)
    if before != after and before.lstrip(CRLF) == after:
        return [*found, "the empty line removed"]
    if before != after and before.replace(b"\n", CRLF) == after:
        return [*found, "LF becomes CR LF"]
    (lines, body), (other, other_body) = split(before), split(after)
    if b"<center>nginx</center>" in other_body:
        return [*found, f"{short(other[0])} of nginx instead"]
    if not after or END not in before:
        return [*found, f"{short(other[0])} instead of {'half a head' if before else 'nothing'}" if after else "nothing instead"]
    if body == after:
        return [*found, "the body alone"]
    if lines[0] != other[0]:
        found.append(f"{short(lines[0])} becomes {short(other[0])}")
    return [*found, *_fields(lines[1:], other[1:]), *_body(lines, body, other, other_body)]


def _interim(before: list[bytes], after: list[bytes]) -> list[str]:
    now = {each.split(CRLF)[0]: each for each in after}
    found = [f"no {short(line)}" for line in (each.split(CRLF)[0] for each in before) if line not in now]
    for each in before:
        line = each.split(CRLF)[0]
        found += [f"in {short(line)} {what}" for what in _fields(split(each)[0][1:], split(now.pop(line, each))[0][1:])]
    return found + [f"{short(line)} added" for line in now]


def _fields(lines: list[bytes], other: list[bytes]) -> list[str]:
    gone, new = list((Counter(lines) - Counter(other)).elements()), list((Counter(other) - Counter(lines)).elements())
    found = []
    for line in gone:
        match = next((each for each in new if _name(each).lower() == _name(line).lower()), None)
        if match is None:
            found.append(f"{short(line)} removed")
            continue
        new.remove(match)
        found.append(f"{short(line)} becomes {short(match)}")
    found += [f"`{_name(line)}` added" if _name(line).lower() in _VOLATILE else f"{short(line)} added" for line in new]
    kept, now = [line for line in lines if line not in gone], [line for line in other if line in lines]
    if kept != now and Counter(kept) == Counter(now):
        still = {
            n
            for block in SequenceMatcher(None, kept, now, autojunk=False).get_matching_blocks()
            for n in range(block.b, block.b + block.size)
        }
        moved = [f"`{_name(line)}`" for n, line in enumerate(now) if n not in still]
        found.append(f"order: {', '.join(moved)} moved")
    return found


def _name(line: bytes) -> str:
    return line.partition(b":")[0].decode("latin-1")


def _body(lines: list[bytes], body: bytes, other: list[bytes], other_body: bytes) -> list[str]:
    if body == other_body:
        return []
    chunked, now_chunked = (any(re.fullmatch(rb"(?i)transfer-encoding:\s*chunked", line) for line in each) for each in (lines, other))
    content, ended, sizes, trailers = payload(body) if chunked else (body, True, [], b"")
    now, now_ended, now_sizes, now_trailers = payload(other_body) if now_chunked else (other_body, True, [], b"")
    found = []
    if content != now:
        found.append(f"body {short(content)} becomes {short(now)}")
    if chunked and now_chunked and ended != now_ended:
        found.append("the body ends" if now_ended else "the body has no end")
    if chunked != now_chunked:
        found.append("chunked" if now_chunked else "no longer chunked")
    if chunked and now_chunked and sizes != now_sizes:
        found.append(f"chunks of {_sizes(sizes)} become {_sizes(now_sizes)} bytes")
    if trailers != now_trailers:
        found.append(f"trailer {short(trailers)} {f'becomes {short(now_trailers)}' if now_trailers else 'removed'}")
    return found or ["chunks written otherwise"]


def _sizes(sizes: list[int]) -> str:
    return "+".join(map(str, sizes)) if len(sizes) < 6 else f"{len(sizes)} chunks, {sum(sizes)}"
