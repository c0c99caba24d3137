"""What a page needs is found, whatever it is written in. Ways out of the web root are in test_publish_hostile.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import links
from deepspeech_wer.publish.assets import Asset, collect
from deepspeech_wer.publish.operations import open_file


def build(root: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return root


def paths(root: Path, page: str = "index.html") -> list[str]:
    return [str(asset.path) for asset in collect(root, page).assets]


def test_the_order_is_data_and_assets_then_pages_then_the_page(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "index.html": '<a href="runs/a.html">a</a><script src="js/x.js"></script>',
            "runs/a.html": '<a href="a/b.html">b</a><img src="a.png"><a href="/">home</a>',
            "runs/a/b.html": '<a href="../../index.html">home</a>',
            "runs/a.png": "",
            "js/x.js": "1",
            "not/linked.html": "",
        },
    )
    collection = collect(tmp_path)
    assert [str(a.path) for a in collection.assets] == [
        "js/x.js",
        "runs/a.png",
        "runs/a/b.html",
        "runs/a.html",
        "index.html",
    ]
    assert [a.is_page for a in collection.assets] == [False, False, True, True, True]
    assert collection.assets[0] == Asset(PurePosixPath("js/x.js"), tmp_path.resolve() / "js/x.js", 1, False)
    assert collection.left_out == ()


@pytest.mark.parametrize(
    "markup",
    [
        '<script src="it"></script>',
        '<script src=" ./it?v=3#x\n"></script>',
        '<link rel="stylesheet" href="it">',
        '<link rel="icon" href="it">',
        '<link rel="preload" as="fetch" href="it">',
        '<link rel="deepspeech-wer-data" href="it">',
        '<link rel="alternate" type="application/atom+xml" href="it">',
        '<img src="it">',
        '<img src="data:image/png;base64,AA" srcset="it 2x">',
        '<img srcset="data:image/png;base64,AA 1x, it 2x, https://example.org/x 3x">',
        '<link rel="preload" as="image" imagesrcset="it">',
        '<picture><source srcset="it"></picture>',
        '<video poster="it"></video>',
        '<video src="it"></video>',
        '<audio><source src="it"><track src="absent"></audio>',
        '<iframe src="it"></iframe>',
        "<iframe srcdoc=\"<img src='it'>\"></iframe>",
        '<embed src="it">',
        '<object data="it"></object>',
        '<input type="image" src="it">',
        '<a href="it">download</a>',
        '<map><area href="it"></map>',
        '<A HREF="it">',
        '<a href="%69t">',
        '<a href="/it">',
        '<a href="sub/../it">',
        '<a href="i&#116;">',
        '<noscript><img src="it"></noscript>',
        '<template><img src="it"></template>',
        '<svg><use xlink:href="it#symbol"/></svg>',
        '<svg><image href="it"/></svg>',
        '<meta http-equiv="Refresh" content="0; URL=\'it\'">',
        '<base href="sub/deeper/"><img src="../../it">',
        '<base href="/sub/x.html"><img src="../it">',
        '<p style="background: url(it)">',
        "<style>@media print { p { background: url('it') } }</style>",
        '<style>@import "it";</style>',
        "<style>@import url(it) print;</style>",
        '<style>@font-face { src: url(data:font/woff2,x), url( "it" ) format("woff2") }</style>',
        '<style>p { background: image-set("it" 1x, "absent" 2x) }</style>',
        "<style>p { background: u\\72l(it) }</style>",
        '<svg><rect fill="none" filter="url(it#shadow)"/></svg>',
        '<svg><style/><script href="it"/></svg>',
        "<svg><style>a { b: url(absent) }</style><style><![CDATA[ a > b { c: url(it) } ]]></style></svg>",
        '<?xml-stylesheet href="it" type="text/css"?>',
        "<meta content=0,it http-equiv=refresh>",
        '<img src="x:" srcset="data:,x,y 1x, absent, it">',
        '<base href="?/sub/"><base href="sub/"><img src="it">',
        '<img src="it"><base href="./y#/z/">',
        "<iframe/srcdoc=<img/src=it&gt;",
        '<img alt="a > b" src="it">',
        "<img alt = 'a' src\n=\nit>",
        '<!-- > --><img src="it"><!-- -->',
        '<!--><img src="it"><!-- -->',
        "<title><!--</title><textarea><img a='</textarea><img src=it>",
        "<script>a = '<!--'; b = \"<img alt='\"</script><img src=it>",
        "<style></styles></style ><img src=it>",
        '<p><img src="it"',
    ],
)
def test_every_way_to_need_a_file(tmp_path: Path, markup: str) -> None:
    root = build(tmp_path, {"index.html": f"<!doctype html>{markup}> <p>", "it": "x"})
    assert paths(root) == ["it", "index.html"]


@pytest.mark.parametrize(
    "markup",
    [
        '<!-- <img src="it"> -->',
        "<script>document.write('<img src=\"it\">')</script>",
        '<title><img src="it"></title>',
        '<textarea><img src="it"></textarea>',
        "<img data-src=it>",
        '</p src="it">',
        '<p content="0; it">',
        '<style>/* url(it) */ a { content: "it" }</style>',
        '<img alt="<img src=it>">',
        '<a href="i&notin">',
        "a < b src=it",
    ],
)
def test_what_only_looks_like_a_link(tmp_path: Path, markup: str) -> None:
    root = build(tmp_path, {"index.html": f"<!doctype html>{markup}> <p>", "it": "x"})
    assert paths(root) == ["index.html"]


def test_a_reference_by_name_counts_only_whole(tmp_path: Path) -> None:
    names = ["a&b.png", "a&notb.png", "\u00e9.png", "x=1&copy=2.png"]
    build(tmp_path, dict.fromkeys(names, ""))
    build(
        tmp_path,
        {"index.html": '<img src="a&amp;b.png"><img src=a&notb.png><img src="&eacute.png"><img src="x=1&copy=2.png">'},
    )
    assert set(paths(tmp_path)) == {*names, "index.html"} and collect(tmp_path).left_out == ()


def test_the_page_of_an_old_installation(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "index.htm": '<script src="resources/d3.v4.js"></script><link rel="stylesheet" href="resources/style.css">'
            '<script src="logs/hyper.js"></script>',
            ".htaccess": "AuthType Basic",
            "resources/d3.v4.js": "",
            "resources/style.css": "",
            "logs/hyper.js": "",
            "logs/not-linked.txt": "",
        },
    )
    names = [".htaccess", "resources/d3.v4.js", "resources/style.css", "logs/hyper.js", "index.htm"]
    assert paths(tmp_path, "index.htm") == names
    assert collect(tmp_path, "index.htm").left_out == ()


def test_a_reader_is_imported_when_there_is_something_to_read(tmp_path: Path) -> None:
    """They take a tenth of a second, and a tick that has nothing to publish should not."""
    build(
        tmp_path, {"plain.html": "<p style='color: red'>", "text.txt": "", "styled.html": "<style>a{b:url(c)}</style>"}
    )
    code = "import sys; from pathlib import Path; from deepspeech_wer.publish.assets import collect;"
    code += (
        f"collect(Path({str(tmp_path)!r}), sys.argv[1]); print(*{{'bs4', 'tinycss2', 'paramiko'}} & {{*sys.modules}})"
    )

    def imported(page: str) -> set[str]:
        run = subprocess.run([sys.executable, "-c", code, page], capture_output=True, text=True, check=True)
        return set(run.stdout.split())

    assert imported("text.txt") == set()
    assert imported("plain.html") == {"bs4"}
    assert imported("styled.html") == {"bs4", "tinycss2"}


def test_what_is_needed_in_turn(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "index.html": '<link rel="stylesheet" href="css/a.css"><img src="img/a.svg">',
            "css/a.css": '\ufeff@import "more/b.css"; /* url(no.png) */ p { content: "no.png" }',
            "css/more/b.css": "p { background: url(../../img/b.png) } @import url(../a.css);",
            "img/a.svg": '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><style>p{fill:url(#x)}'
            'a{background:url(c.png)}</style><image xlink:href="d.png"/></svg>',
            "img/b.png": "",
            "img/c.png": "",
            "img/d.png": "",
            "no.png": "",
        },
    )
    assert set(paths(tmp_path)) == {
        "index.html", "css/a.css", "css/more/b.css", "img/a.svg", "img/b.png", "img/c.png", "img/d.png",
    }  # fmt: skip
    assert collect(tmp_path).left_out == ()


def test_a_link_to_a_folder_is_to_its_page(tmp_path: Path) -> None:
    build(
        tmp_path,
        {"index.html": '<a href="old/"><a href="runs"><a href="empty/">', "old/index.htm": "", "runs/index.html": ""},
    )
    (tmp_path / "empty").mkdir()
    collection = collect(tmp_path)
    assert {str(a.path) for a in collection.assets} == {"index.html", "old/index.htm", "runs/index.html"}
    assert collection.left_out == ("'empty/', which index.html links to, is a folder without an index.html",)


def test_the_servers_settings_are_taken(tmp_path: Path) -> None:
    build(tmp_path, {"index.html": "", ".htaccess": "Options -Indexes"})
    assert paths(tmp_path) == [".htaccess", "index.html"]


@pytest.mark.parametrize(
    "link",
    [
        "https://example.org/x.js",
        "HTTP://example.org",
        "mailto:a@example.org",
        "data:text/plain,x",
        "javascript:alert(1)",
        "tel:1",
        "#top",
        "?sort=wer",
        "",
        "java\nscript:alert(1)",
    ],
)
def test_other_sites_and_the_page_itself_are_left_alone(tmp_path: Path, link: str) -> None:
    collection = collect(build(tmp_path, {"index.html": f'<a href="{link}">x</a>'}))
    assert len(collection.assets) == 1 and collection.left_out == ()


def test_with_a_base_elsewhere_nothing_is_ours(tmp_path: Path) -> None:
    root = build(tmp_path, {"index.html": '<base href="https://example.org/x/"><img src="it">', "it": ""})
    assert paths(root) == ["index.html"]


def test_symbolic_links_within_the_site_are_followed(tmp_path: Path) -> None:
    root = build(
        tmp_path, {"index.html": '<img src="new.png"><img src="folder/x.png">', "old.png": "1", "real/x.png": "2"}
    )
    (root / "new.png").symlink_to("old.png")
    (root / "folder").symlink_to(root / "real")
    assert paths(root) == ["new.png", "folder/x.png", "index.html"]


def test_the_same_link_on_many_pages_is_told_once(tmp_path: Path) -> None:
    pages = {f"{n}.html": '<a href="absent.html">x</a>' for n in range(20)}
    build(tmp_path, pages | {"index.html": "".join(f'<a href="{name}">x</a>' for name in pages)})
    collection = collect(tmp_path)
    assert len(collection.assets) == 21
    assert collection.left_out == ("'absent.html', which 0.html links to, is not there",)


def test_a_file_too_large_to_search_is_sent_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(links.LARGEST_SEARCHED, ".html", 100)
    root = build(tmp_path, {"index.html": '<a href="b.html">', "b.html": " " * 101 + '<img src="it">', "it": ""})
    assert paths(root) == ["b.html", "index.html"]
    assert "b.html" in collect(root).left_out[0]


@pytest.mark.parametrize(
    "before",
    [
        *(f"{start}{'x' * 12_000_000}{end}" for start, end in {
            "": "", "<!--": "-->", "<p title='": "'>", "<a href='": "'>", "<p ": ">", "<": ">", "<script>": "</script>",
            "<style>": "</style>", "<? ": ">", "<!doctype ": ">", "&": ";",
        }.items()),
        "<div>" * 4000,
        "<p>\0\1\x1f\ufffe\uffff\U0001f600",
        "<a href='\0'>",
        "<meta charset=utf-16>\u00e9",
        "<meta http-equiv=content-type content='text/html; charset=shift_jis'>\u00e9",
        "<?xml version='1.0' encoding='utf-7'?>\u00e9",
        '<!DOCTYPE a [<!ENTITY b "&c;&c;"><!ENTITY c SYSTEM "file:///etc/passwd">]>&b;&c;',
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_whatever_stands_before_a_link_it_is_found(tmp_path: Path, before: str) -> None:
    root = build(tmp_path, {"index.html": f'{before}<a href="i\u00e9t">', "i\u00e9t": ""})
    assert "i\u00e9t" in paths(root)


def test_a_link_beside_a_picture_of_twelve_megabytes_is_found(tmp_path: Path) -> None:
    """By default lxml empties an attribute that has more than ten million letters, and says nothing."""
    picture = f"data:image/png;base64,{'A' * 12_000_000}"
    assert paths(build(tmp_path, {"index.html": f'<img srcset="{picture} 1x, it 2x">', "it": ""})) == [
        "it",
        "index.html",
    ]


def test_a_page_of_too_many_elements_within_elements_is_sent_and_told(tmp_path: Path) -> None:
    root = build(
        tmp_path,
        {"index.html": '<a href="b.html">', "b.html": "<img src=it>" + "<div>" * 100_000 + "<img src=x>", "it": ""},
    )
    assert paths(root) == ["it", "b.html", "index.html"]
    (told,) = collect(root).left_out
    assert "b.html" in told and "not closed" in told


@pytest.mark.parametrize(
    "text",
    [
        "<" * 20000,
        "<div>" * 20000,
        "<!DOCTYPE [",
        "<![CDATA[",
        "<a href=\0>",
        "<style>" + "{" * 20000,
        "<p style='((((" + "(" * 20000 + "'>",
    ],
)
def test_a_page_that_is_not_well_formed_is_read_all_the_same(tmp_path: Path, text: str) -> None:
    assert "index.html" in paths(build(tmp_path, {"index.html": text}))


@pytest.mark.parametrize("page", ["index.html", "../index.html", "/etc/passwd", "sub"])
def test_a_page_that_is_not_there(tmp_path: Path, page: str) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(PublishError, match="no page to publish"):
        collect(tmp_path, page)


def test_a_web_root_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(PublishError, match="no site to publish"):
            collect(path)


@pytest.mark.parametrize("swap", ["symbolic link", "pipe", "nothing", "folder"])
def test_a_file_that_changed_its_nature_is_not_sent(tmp_path: Path, swap: str) -> None:
    root = build(tmp_path / "www", {"index.html": ""})
    (asset,) = collect(root).assets
    asset.source.unlink()
    if swap == "symbolic link":
        asset.source.symlink_to("/etc/passwd")
    elif swap == "pipe":
        os.mkfifo(asset.source)
    elif swap == "folder":
        asset.source.mkdir()
    with pytest.raises(PublishError, match="which the site needs"):
        open_file(asset.source)
