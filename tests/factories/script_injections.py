"""200 strings that run a script in a page that does not escape them.

A script that runs sets `window.ran`, opens a dialog and writes to the console, so that a test notices it.
"""

from __future__ import annotations

from itertools import product
from typing import Final

__all__ = ["INJECTIONS"]

_CODE: Final = "window.ran=1;console.log(1);alert(1)"
_TAGS: Final = (
    "<script>{code}</script>",
    "<ScRiPt>{code}</sCrIpT>",
    "<script src=data:text/javascript,{code}></script>",
    "<img src=x onerror={code}>",
    "<img src=x onerror='{code}'>",
    '<img/src="x"/onerror="{code}">',
    "<svg onload={code}>",
    "<svg><script>{code}</script></svg>",
    "<svg><animate onbegin={code} attributeName=x dur=1s>",
    "<body onload={code}>",
    "<iframe srcdoc='<script>parent.{code}</script>'></iframe>",
    "<iframe src=javascript:parent.{code}></iframe>",
    "<details open ontoggle={code}>x</details>",
    "<video src=x onerror={code}></video>",
    "<input autofocus onfocus={code}>",
    "<style onload={code}></style>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css onerror={code}>",
    "<object data=javascript:{code}></object>",
    "<embed src=javascript:{code}>",
    "<meta http-equiv=refresh content='0;url=javascript:{code}'>",
    "<base href=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><button>x</button></form>",
    "<math><mtext><table><mglyph><style><img src=x onerror={code}>",
    "<marquee onstart={code}>x</marquee>",
    "<x style='background:url(http://127.0.0.1:9/x)' tabindex=1 autofocus onfocus={code}>",
)
# What closes the place in which a string may stand: an attribute, a style sheet, a title, an option.
_BEFORE: Final = (
    "",
    '">',
    "'>",
    "</style>",
    "</title></option></select>",
    "--></textarea>",
    "]]></p>",
    "\\x3c/td>",
)

INJECTIONS: Final = tuple(
    f"{number:03d}{before}{tag.replace('{code}', _CODE)}"
    for number, (before, tag) in enumerate(product(_BEFORE, _TAGS))
)
