"""Pages that lead out of the web root, in every way that there is: nothing outside is ever opened or sent.

Each link is tried in each way to link, in a process of its own in which an audit hook hears of every file that is
opened or listed, every program that is started and every connection that is made.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from deepspeech_wer.publish.assets import MOST_NAMES, MOST_TOLD, collect
from deepspeech_wer.publish.release import publish
from deepspeech_wer.publish.target import Folder

SECRET = "the secret that stays outside"

#: What leads out, or nowhere: what is said of it, as part of the sentence.
OUT = {
    "../secret": "leads out of the web root",
    "../../../../../../../../etc/passwd": "leads out of the web root",
    "./.././secret": "leads out of the web root",
    "..//secret": "leads out of the web root",
    "/../secret": "leads out of the web root",
    "/./../secret": "leads out of the web root",
    "sub/../../secret": "leads out of the web root",
    "index.html/../../secret": "leads out of the web root",
    "absent/../../secret": "leads out of the web root",
    "linked-folder/../../secret": "leads out of the web root",
    "..": "leads out of the web root",
    "%2e%2e/secret": "leads out of the web root",
    "%2E%2E/secret": "leads out of the web root",
    ".%2e/secret": "leads out of the web root",
    "..%2fsecret": "leads out of the web root",
    "%2E%2E%2Fsecret": "leads out of the web root",
    "sub%2f..%2f..%2fsecret": "leads out of the web root",
    ".\t./secret": "leads out of the web root",
    ".\n.\n/secret": "leads out of the web root",
    " \x01\x1f ../secret": "leads out of the web root",
    "../secret?x=/../#/..": "leads out of the web root",
    "../www-too/secret": "leads out of the web root",
    "file:///etc/passwd": "a file of this machine",
    "FILE:///etc/passwd": "a file of this machine",
    "file:../secret": "a file of this machine",
    "file://localhost/etc/passwd": "a file of this machine",
    "fi\tle:///etc/passwd": "a file of this machine",
    " \x0bfile:/proc/self/environ": "a file of this machine",
    "//example.org/../secret": "another server",
    "///etc/passwd": "another server",
    "////etc/passwd": "another server",
    "/%2fetc/passwd": "another server",
    "%2f%2fetc/passwd": "another server",
    "/\t/etc/passwd": "another server",
    "..\\secret": "backslash",
    "..%5csecret": "backslash",
    "\\\\host\\share": "backslash",
    "/\\host/share": "backslash",
    "%00../secret": "control character",
    "../www/sub/here%00.png": "control character",
    "%0d%0a../secret": "control character",
    "%7f": "control character",
    "%c0%ae%c0%ae/secret": "not a path in UTF-8",
    "..%c0%afsecret": "not a path in UTF-8",
    "%e0%80%ae%e0%80%ae/secret": "not a path in UTF-8",
    "%ff%fe": "not a path in UTF-8",
    # What only looks like a way out, or is one where something decodes once too often, is the name of no file.
    "%252e%252e/secret": "is not there",
    "%25252e%25252e%25252fsecret": "is not there",
    "%%32%65%%32%65/secret": "is not there",
    "%u002e%u002e/secret": "is not there",
    "..;/secret": "is not there",
    ". ./secret": "is not there",
    "%2e%2e%20/secret": "is not there",
    ".../secret": "is not there",
    "....//secret": "is not there",
    "\uff0e\uff0e/secret": "is not there",
    "\u2024\u2024/secret": "is not there",
    "\u2025/secret": "is not there",
    "..\u2215secret": "is not there",
    "..\uff0fsecret": "is not there",
    "\u200b../secret": "is not there",
    "\u202e../secret": "is not there",
    "~/.ssh/id_rsa": "is not there",
    "~root/secret": "is not there",
    "$HOME/secret": "is not there",
    "file%3a///etc/passwd": "is not there",
    "/etc/passwd": "is not there",
    "/proc/self/environ": "is not there",
    "/dev/stdin": "is not there",
    "{outside}/secret": "is not there",
    "absent.png": "is not there",
    "sub/here/x": "is not there",
    "SUB/here": "is not there",
    "sub/here.": "is not there",
    "sub/here%20": "is not there",
    "dangling": "is not there",
    "link": "symbolic link out of the web root",
    "absolute-link": "symbolic link out of the web root",
    "first-of-three": "symbolic link out of the web root",
    "sub/deeper/up": "symbolic link out of the web root",
    "linked-folder": "symbolic link out of the web root",
    "linked-folder/secret": "symbolic link out of the web root",
    "linked-folder/absent": "symbolic link out of the web root",
    "link-to-sibling/secret": "symbolic link out of the web root",
    "root/etc/passwd": "symbolic link out of the web root",
    "folder-with-linked-page/": "symbolic link out of the web root",
    "environ": "symbolic link out of the web root",
    "null": "symbolic link out of the web root",
    "stdin": "",  # what that is, depends on who started the test
    "loop": "cannot be looked up",
    "loop/secret": "cannot be looked up",
    "one-of-two": "cannot be looked up",
    "x" * 300: "cannot be looked up",
    "x/" * 3000: "is not there",
    "pipe": "is not a file",
    "socket": "is not a file",
    "sub/deeper": "is a folder without an index.html",
    "sub/deeper/": "is a folder without an index.html",
    ".deepspeech-wer.json": "kept for publishing",
    ".deepspeech-wer-site.json": "kept for publishing",
    ".DeepSpeech-WER/kept/x": "kept for publishing",
    "sub/.deepspeech-wer/x": "kept for publishing",
    "nicely-named": "kept for publishing",
}

#: Another site, or none: nobody's business, and not told.
ELSEWHERE = (
    "https://example.org/../secret",
    "HTTP:///etc/passwd",
    "https://user:password@example.org/x",
    "ht\ntps://example.org",
    "http:../secret",
    "ftp://example.org/etc/passwd",
    "data:text/html,<img src='../secret'>",
    "javascript:fetch('../secret')",
    "java\tscript:alert(1)",
    "blob:file:///etc/passwd",
    "filesystem:file:///etc/passwd",
    "view-source:file:///etc/passwd",
    "jar:file:///etc/passwd!/x",
    "c:/windows/win.ini",
    "mailto:a@example.org",
    "about:srcdoc",
    "#/../secret",
    "?/../secret",
)


def _attribute(value: str) -> str:
    return "".join(f"&#{ord(character)};" if character in "&\"'<>\n\r\t" else character for character in value)


def _every_letter(value: str) -> str:
    return "".join(f"&#x{ord(character):x};" for character in value)


def _string(value: str) -> str:
    """In a style sheet; the way out is written in escapes."""
    return "".join(f"\\{ord(c):x} " if not c.isalnum() or ord(c) > 126 else c for c in value)


#: Ways to link: what is in the page for a link, or in a file beside it.
WAYS: dict[str, Callable[[str], dict[str, str]]] = {
    "a": lambda it: {"index.html": f'<a href="{_attribute(it)}">x</a>'},
    "entities": lambda it: {"index.html": f"<img src='{_every_letter(it)}'>"},
    "data": lambda it: {"index.html": f'<link rel="deepspeech-wer-data" href="{_attribute(it)}">'},
    "script": lambda it: {"index.html": f'<SCRIPT\fSRC="{_attribute(it)}"/>'},
    "object": lambda it: {"index.html": f'<object data="{_attribute(it)}">'},
    "poster": lambda it: {"index.html": f'<video poster="{_attribute(it)}">'},
    "srcdoc": lambda it: {"index.html": f'<iframe srcdoc="<embed src={_every_letter(it).replace("&", "&amp;")}>">'},
    "use": lambda it: {"index.html": f'<svg><style/><use xlink:href="{_attribute(it)}"/></svg>'},
    "image": lambda it: {
        "index.html": '<img src="sub/deeper/../../a.svg">',
        "a.svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{_attribute(it)}"/></svg>',
    },
    "torn": lambda it: {"index.html": f'<p <td title="<!--"><img alt=">" src="{_attribute(it)}"<a>'},
    "style": lambda it: {"index.html": f"<p style='background: url(\"{_string(it)}\")'>"},
    "import": lambda it: {
        "index.html": "<link rel=stylesheet href=a.css>",
        "a.css": f'@import "{_string(it)}";',
    },
    "image-set": lambda it: {"index.html": f'<style>p {{ a: b(image-set("{_string(it)}" 2x)) }}</style>'},
}  # fmt: skip

#: Ways that read an address otherwise than as it stands: blanks end it, quotes and a base change it.
LOOSE: dict[str, Callable[[str], dict[str, str]]] = {
    "srcset": lambda it: {"index.html": f'<img srcset="data:,x 1x, {_attribute(it)} 2x">'},
    "refresh": lambda it: {"index.html": f'<meta content="0;URL={_attribute(it)}" http-equiv=refresh>'},
    "base": lambda it: {"index.html": f'<img src="{_attribute(it)}"><base href="sub/deeper/../../../">'},
    "base out": lambda it: {"index.html": f'<base href="{_attribute(it)}/x"><img src="secret">'},
    "base file": lambda it: {"index.html": f'<base href="file:///etc/"><img src="{_attribute(it)}">'},
    "unquoted": lambda it: {"index.html": f"<a href={quote(it, safe='./%:~$')}>"},
    "url": lambda it: {"index.html": f"<style>p {{ background: url({it}) }}</style>"},
    "css file": lambda it: {"index.html": "<link rel=stylesheet href=a.css>", "a.css": f"@import url({it});"},
}

LISTENER = """
import json, sys
from pathlib import Path
from deepspeech_wer.publish.site import gather

EVENTS = ("open", "os.listdir", "os.scandir", "subprocess.Popen", "os.exec", "os.system", "socket.connect")
heard, on = [], False
def hear(event, arguments):
    if on and event in EVENTS:
        # A number is a file that was opened before.
        if not isinstance(arguments[0], int):
            heard.append(str(arguments[0] if event != "socket.connect" else arguments[1]))
sys.addaudithook(hear)
root, told = Path(sys.argv[1]), []
for files in json.load(sys.stdin):
    for name in ("index.html", "a.svg", "a.css"):
        (root / name).unlink(missing_ok=True)
    for name, text in files.items():
        (root / name).write_bytes(text.encode())
    heard, on = [], True
    site = gather(root, "index.html")
    for content in site.files.values():
        with content.open() as file:
            file.read()
    on = False
    told.append([sorted(site.files), site.left_out, heard])
json.dump(told, sys.stdout)
"""


@dataclass(frozen=True)
class Seen:
    """What came of one page: the files that would be sent, what was told, what was opened."""

    files: list[str]
    told: list[str]
    opened: list[str]


@pytest.fixture(scope="module")
def web_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("hostile").resolve()
    root, outside = folder / "www", folder / "outside"
    for place in (outside, folder / "www-too", root / "sub" / "deeper", root / "folder-with-linked-page"):
        place.mkdir(parents=True)
    for place in (folder, outside, folder / "www-too"):
        (place / "secret").write_text(SECRET)
        (place / "index.html").write_text(SECRET)
    (root / "sub" / "here").touch()
    for name in (".deepspeech-wer.json", ".deepspeech-wer-site.json"):
        (root / name).write_text("{}")
    for name in (".DeepSpeech-WER/kept", "sub/.deepspeech-wer"):
        (root / name).mkdir(parents=True)
        (root / name / "x").touch()
    for name, text in {
        "link": "../secret",
        "absolute-link": str(outside / "secret"),
        "first-of-three": "sub/second-of-three",
        "sub/second-of-three": "../third-of-three",
        "third-of-three": "sub/../../secret",
        "sub/deeper/up": "../../../secret",
        "linked-folder": str(outside),
        "link-to-sibling": "../www-too",
        "root": "/",
        "folder-with-linked-page/index.html": "../../outside/index.html",
        "environ": "/proc/self/environ",
        "null": "/dev/null",
        "stdin": "/dev/stdin",
        "dangling": "nowhere",
        "loop": "loop",
        "one-of-two": "two-of-two",
        "two-of-two": "one-of-two",
        "nicely-named": ".deepspeech-wer.json",
    }.items():
        (root / name).symlink_to(text)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        # The path of a socket may have 107 bytes.
        before = Path.cwd()
        os.chdir(root)
        server.bind("socket")
        os.chdir(before)
        yield root


def listened(web_root: Path, pages: list[dict[str, str]]) -> list[Seen]:
    done = subprocess.run(
        [sys.executable, "-c", LISTENER, str(web_root)],
        input=json.dumps(pages),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout
    return [Seen(*each) for each in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def seen(web_root: Path) -> dict[tuple[str, str], Seen]:
    cases = {
        (way, link): made(link.format(outside=web_root.parent / "outside"))
        for way, made in (WAYS | LOOSE).items()
        for link in (*OUT, *ELSEWHERE)
    }
    return dict(zip(cases, listened(web_root, list(cases.values())), strict=True))


def opened_outside(web_root: Path, paths: list[str]) -> set[str]:
    """Without what Python opens of its own when it imports."""
    own = tuple({str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix)} | {sys.prefix, sys.base_prefix})
    package = str(Path(__file__).resolve().parents[2] / "src")
    return {path for path in paths if not path.startswith((f"{web_root}/", *own, package))}


@pytest.mark.parametrize("link", [*OUT, *ELSEWHERE], ids=lambda link: repr(link[:50]))
def test_nothing_outside_is_opened_or_taken_whatever_the_way(
    web_root: Path, seen: dict[tuple[str, str], Seen], link: str
) -> None:
    for way in WAYS | LOOSE:
        what = seen[way, link]
        assert opened_outside(web_root, what.opened) == set(), way
        assert set(what.files) <= {"index.html", "a.svg", "a.css"}, way
        for path in what.opened:
            assert Path(path).name in ("index.html", "a.svg", "a.css") or not path.startswith(str(web_root)), way


@pytest.mark.parametrize("link", OUT, ids=lambda link: repr(link[:50]))
def test_what_is_not_taken_is_told_once(seen: dict[tuple[str, str], Seen], link: str) -> None:
    for way in WAYS:
        (told,) = seen[way, link].told
        assert OUT[link] in told, way
        assert "links to" in told and told.isprintable() and len(told) < 900, way


@pytest.mark.parametrize("link", ELSEWHERE, ids=repr)
def test_another_site_is_not_told(seen: dict[tuple[str, str], Seen], link: str) -> None:
    assert [way for way in WAYS if seen[way, link].told] == []


def test_all_of_it_at_once_is_published_without_anything_from_outside(web_root: Path, tmp_path: Path) -> None:
    made = [way(link.format(outside=web_root.parent / "outside")) for way in WAYS.values() for link in OUT]
    (web_root / "index.html").write_text('<a href="sub/page.html">x</a>' + "".join(f["index.html"] + ">" for f in made))
    (web_root / "sub/page.html").write_text("".join(f'<a href="../{_attribute(link)}">' for link in OUT))
    (web_root / "a.css").write_text("".join(files.get("a.css", "") for files in made))
    (web_root / "a.svg").unlink(missing_ok=True)
    release = publish(web_root, Folder(tmp_path / "out"))
    there = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in there} <= {"index.html", "page.html", "a.css", ".deepspeech-wer.json"}
    assert not any(SECRET in path.read_text() for path in there)
    assert len(release.left_out) == MOST_TOLD + 1
    assert "more links" in release.left_out[-1]
    for name in ("index.html", "sub/page.html", "a.css"):
        (web_root / name).unlink()


def test_a_device_is_no_file(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "zero", 0o020666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")
    (tmp_path / "index.html").write_text('<img src="zero">')
    assert collect(tmp_path).left_out == ("'zero', which index.html links to, is not a file",)


def test_settings_of_the_web_server_that_lead_out_are_told(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    root = tmp_path / "www"
    root.mkdir()
    (root / ".htaccess").symlink_to("../secret")
    (root / "index.html").touch()
    assert collect(root).left_out == (".htaccess is a symbolic link out of the web root",)


def test_a_web_root_that_is_a_symbolic_link_is_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/index.html").write_text('<a href="../secret"><a href="page.html">')
    (tmp_path / "real/page.html").touch()
    (tmp_path / "www").symlink_to("real")
    collection = collect(tmp_path / "www")
    assert [str(asset.path) for asset in collection.assets] == ["page.html", "index.html"]
    assert len(collection.left_out) == 1


# Without end ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_links_that_go_round_in_circles_end(tmp_path: Path) -> None:
    """A symbolic link to a folder above, and a page has no end of names, all of them inside."""
    (tmp_path / "again").symlink_to(".")
    (tmp_path / "once-more").symlink_to("again")
    (tmp_path / "index.html").write_text('<a href="again/"><a href="once-more/index.html"><a href="../index.html">')
    collection = collect(tmp_path)
    assert len(collection.assets) <= MOST_NAMES + 1
    assert "10 other names" in " ".join(collection.left_out)


def test_what_links_to_itself_is_taken_once(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<a href=""><a href="."><a href="index.html?x"><link href="a.css">')
    (tmp_path / "a.css").write_text('@import "a.css"; @import url(./b.css?x);')
    (tmp_path / "b.css").write_text('@import "../" + "a.css"; @import "a.css";')
    assert [str(asset.path) for asset in collect(tmp_path).assets] == ["a.css", "b.css", "index.html"]


LONG = {
    "links": lambda n: "".join(f'<a href="{number}">\n' for number in range(n // 17)),
    "ways out": lambda n: "".join(f'<a href="../{number}">\n' for number in range(n // 20)),
    "styles": lambda n: "".join(f'<p style="a:url({number})">\n' for number in range(n // 26)),
    **{
        name: lambda n, unit=unit: unit * (n // len(unit))
        for name, unit in {
            "unclosed tags": "<a href=x",
            "unclosed quotes": "<a href='",
            "unclosed comments": "<!--",
            "unclosed styles": "<svg><style>",
            "unclosed scripts": "<script>",
            "ends": "</style ",
            "elements": "<div>",
            "brackets": "<",
            "sections": "<![CDATA[",
            "declarations": "<!DOCTYPE [<!ENTITY ",
            "references": "&#46",
            "documents in documents": "<iframe/srcdoc=",
            "attributes": "<p a=b" + " a=b" * 1000,
            "dashes": "<!---",
            "ends without a beginning": "<div></p>",
            "formatting": "<b><p>",
            "links in links": "<a href=x><b>",
            "no letters": "\0",
            "instructions in instructions": "<!--?xml-stylesheet >",
            "instructions": "<?xml-stylesheet >?xml-stylesheet &gt;",
            "quotes": "<a '\"=",
        }.items()
    },
    "elements, then ends": lambda n: "<div>" * (n // 10) + "</p>" * (n // 8),
    "elements by many names": lambda n: "".join(f"<i{number}>" for number in range(n // 8)),
    "attributes by many names": lambda n: "<p " + "".join(f" a{number}=b" for number in range(n // 9)),
    "blanks in a tag": lambda n: "<a " + " " * n,
    "a number": lambda n: f'<a href="&#{"9" * n};">',
    "commas": lambda n: f'<img srcset="{"," * n}x{"," * n}y">',
    "blanks": lambda n: f'<meta http-equiv=refresh content="{" " * n}"><img srcset="{" " * n}"><a href="{" " * n}">',
    "blocks": lambda n: "<style>" + "a{url(" * (n // 60),
    "a name": lambda n: "<" + "a" * n,
}  # fmt: skip


@pytest.mark.parametrize("kind", LONG)
def test_the_time_grows_with_the_page_and_no_faster(tmp_path: Path, kind: str) -> None:
    """A megabyte of anything takes seconds at most: what grows with the square would take hours."""
    (tmp_path / "index.html").write_text(LONG[kind](1_000_000))
    started = time.perf_counter()
    collection = collect(tmp_path)
    assert time.perf_counter() - started < 15
    assert len(collection.assets) == 1 and len(collection.left_out) <= MOST_TOLD + 1


@pytest.mark.timeout(300)
def test_a_page_of_thirty_megabytes_with_a_million_links(tmp_path: Path) -> None:
    (tmp_path / "there.png").touch()
    page = "".join(f'<a href="there.png?x{number:07d}">\n' for number in range(1_000_000))
    (tmp_path / "index.html").write_text(page)
    assert 29e6 < len(page) < 32e6
    started = time.perf_counter()
    collection = collect(tmp_path)
    assert time.perf_counter() - started < 60
    assert [str(asset.path) for asset in collection.assets] == ["there.png", "index.html"]
    assert collection.left_out == ()
