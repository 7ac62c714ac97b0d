"""The commands and environments of LaTeX that llm knows: which hold words, and which do not."""

from __future__ import annotations

import re

HEADING_COMMANDS = {
    "part": 0, "addpart": 0, "chapter": 1, "addchap": 1, "section": 2, "addsec": 2, "frametitle": 2, "subsection": 3, "framesubtitle": 3,
    "subsubsection": 4, "minisec": 4, "paragraph": 5, "subparagraph": 6,
}  # fmt: skip
"""Commands whose words are a title, and the levels of these."""
BLOCK_COMMANDS = {
    "title": 0, "subtitle": 0, "subject": 0, "dedication": 0, "abstract": 0, "keywords": 0, "titlehead": 0, "dedicatory": 0, "caption": 0, "captionof": 1, "subcaption": 0,
    "multicolumn": 2, "multirow": 2, "makecell": 0, "thead": 0, "shortstack": 0, "frame": 0, "epigraph": 0, "dictum": 0, "centerline": 0,
    "tablecaption": 0, "IEEEtitleabstractindextext": 0, "subfigure": 0, "subtable": 0, "bibnote": 0, "acknowledgments": 0, "acknowledgements": 0, "parbox": 1, "blockquote": 0, "subfloat": 0,
}  # fmt: skip
"""Commands whose words stand for themselves, and the number of arguments before these."""
PREAMBLE_COMMANDS = frozenset({"title", "subtitle", "subject", "dedication", "abstract", "keywords", "titlehead"})
INLINE_COMMANDS = {
    **dict.fromkeys(
        ("emph", "textbf", "textit", "textsl", "textsc", "textsf", "textrm", "textup", "textmd", "textnormal", "text", "underline", "uline", "uuline",
         "sout", "enquote", "mbox", "fbox", "hl", "alert", "structure", "textsuperscript", "textsubscript", "MakeUppercase", "MakeLowercase", "uppercase",
         "footnote", "footnotetext", "endnote", "thanks", "marginpar", "marginnote", "sidenote", "only", "uncover", "visible", "onslide", "strong",
         "makebox", "framebox", "hbox", "reflectbox", "so", "ul", "st", "caps", "uwave", "xout", "dashuline", "dotuline", "textquote", "endnotetext",
         "MakeTextUppercase", "MakeTextLowercase", "lowercase", "DIFadd"), 0),
    "href": 1, "hyperref": 0, "hyperlink": 1, "hypertarget": 1, "textcolor": 1, "colorbox": 1, "raisebox": 1,
    "scalebox": 1, "rotatebox": 1, "resizebox": 2,
}  # fmt: skip
"""Commands whose words are part of a sentence, and the number of arguments before these."""
SWITCH_COMMANDS = frozenset(
    {"bf", "it", "em", "sl", "sc", "tt", "rm", "sf", "bfseries", "itshape", "slshape", "scshape", "ttfamily", "rmfamily", "sffamily", "mdseries",
     "upshape", "normalfont", "tiny", "scriptsize", "footnotesize", "small", "normalsize", "large", "Large", "LARGE", "huge", "Huge", "noindent",
     "indent", "centering", "raggedright", "raggedleft", "quad", "qquad", "hfill", "null", "strut", "protect", "relax", "leavevmode", "unskip"}
)  # fmt: skip
"""Commands without arguments, which may begin or end a paragraph without being part of its words."""
TRIMMED_COMMANDS = frozenset(
    {
        "label",
        "index",
        "hspace",
        "vspace",
        "phantomsection",
        "pause",
        "nocite",
        "glsadd",
        "todo",
        "fontsize",
        "selectfont",
        "color",
    }
)
"""Commands with arguments that may do so."""
BOUNDARY_COMMANDS = frozenset(
    {"par", "newpage", "clearpage", "cleardoublepage", "pagebreak", "maketitle", "tableofcontents", "listoffigures", "listoftables", "appendix",
     "bibliography", "bibliographystyle", "printbibliography", "printindex", "input", "include", "includegraphics", "subfile", "hline", "toprule",
     "midrule", "bottomrule", "cline", "cmidrule", "endhead", "endfirsthead", "endfoot", "endlastfoot", "tabularnewline", "bigskip", "medskip",
     "smallskip", "vfill", "frontmatter", "mainmatter", "backmatter", "pagestyle", "thispagestyle", "pagenumbering", "setlength", "addtolength",
     "setcounter", "addcontentsline", "lstinputlisting", "inputminted", "usetikzlibrary", "hypersetup", "documentclass", "usepackage", "fi", "else",
     "titlepage", "makeatletter", "makeatother", "hrule", "rule", "titlegraphic", "and", "framebreak"}
)  # fmt: skip
DEFINITION_COMMANDS = frozenset(
    {"newcommand", "renewcommand", "providecommand", "DeclareRobustCommand", "newenvironment", "renewenvironment", "NewDocumentCommand",
     "RenewDocumentCommand", "NewDocumentEnvironment", "DeclareMathOperator", "newtheorem", "lstset", "lstdefinestyle", "lstdefinelanguage",
     "newglossaryentry", "newacronym", "tikzset", "pgfplotsset", "sisetup", "tcbset", "titleformat", "newcolumntype"}
)  # fmt: skip
PRIMITIVE_DEFINITION = re.compile(
    r"\\(?:(?:global|long|outer)[ \t]*\\)?(?:[egx]?def|let)(?![A-Za-z])[ \t]*\\(?:[A-Za-z@]+|.)[^{}\r\n]{0,100}"
)
MATH_ENVIRONMENT = re.compile(
    r"(?:displaymath|equation|align|alignat|flalign|xalignat|gather|multline|eqnarray|dmath|math|IEEEeqnarray|array|split|aligned|gathered|cases"
    r"|[bBpvV]?matrix)\*?\Z"
)
TABLE_ENVIRONMENT = re.compile(
    r"(?:tabular[xy]?|tabulary|longtable|supertabular|xltabular|tabu|longtabu|tblr|longtblr|NiceTabular|mpxtabular)\*?\Z"
)
LIST_ENVIRONMENTS = frozenset(
    {
        "itemize",
        "enumerate",
        "description",
        "compactitem",
        "compactenum",
        "inparaenum",
        "asparaenum",
        "tasks",
        "trivlist",
        "list",
    }
)
OPTION_TITLED_ENVIRONMENTS = re.compile(
    r"(?:theorem|lemma|proof|definition|corollary|proposition|remark|example|claim|conjecture|exercise|problem|note|question|fact|axiom|case"
    r"|assumption|observation|solution|tip|warning)\*?\Z"
)
THEOREM_DECLARATION = re.compile(
    r"\\(?:newtheorem|declaretheorem(?:\[[^\[\]{}]*\])?)\*?[ \t]*\{(?P<name>[^{}\\\r\n]{1,60})\}"
)
"""The declaration of an environment that has a title as an option."""
WORDS_IN_MATH = re.compile(r"\\(?:text(?:rm|it|bf|normal)?|[mh]box|intertext|qq)\*?[ \t]*\{[^{}$\\]*[^\W\d_]{3}")
CAPTION_OPTION = re.compile(
    r"[ \t]*\[(?:[^\[\]{}]|\{[^{}]*\}){0,500}?(?<![\w-])(?:caption|title)[ \t]*=[ \t]*\{(?P<words>(?:[^{}]|\{[^{}]*\}){1,500})\}"
)
"""The caption of a listing, or the title of a box, in its options."""
TITLED_ENVIRONMENTS = frozenset({"frame", "block", "alertblock", "exampleblock"})
"""Environments of beamer whose first argument is a title."""
WORDLESS_COMMANDS = re.compile(
    r"[A-Za-z]*[cC]ite[A-Za-z]*|[A-Za-z]*[rR]ef|label|[a-z]*bib[a-z]*|url|path|nolinkurl|texttt|verb|code|lstinline|mintinline|Verb|[a-z]*input[a-z]*"
    r"|include[a-z]*|gls[a-z]*|Gls[a-z]*|ac[a-z]?|Ac|SI(?:range|list)?|si|num[a-z]*|qty[a-z]*|unit|ang|ce|[a-z]*[cC]olor[a-z]*|[hv](?:space|skip|phantom)|phantom"
    r"|rule|fontsize|usefont|fontfamily|fontseries|fontshape|selectlanguage|foreignlanguage|ensuremath|math[a-z]+|[Uu]se[a-z]+|RequirePackage|[a-z]*set[a-z]*"
    r"|new[a-z]+|renew[a-z]+|value|[a-z]*counter[a-z]*|arabic|[rR]oman|[aA]lph|[a-z]*graphics[a-z]*|[A-Z]?[a-z]*Declare[A-Za-z]*|tikz[a-z]*|pgf[a-z]*|sym|char|kern"
    r"|hypersetup|index|glsadd|color|nocite|let|csname|begingroup|endgroup|input|subfile|date|author|email|affiliation|institute|orcid"
    r"|def|DIFdel|message|err(?:message|help)|typeout|detokenize|string|[a-z]*style|.*@.*"
)
"""Commands whose arguments are no words: references, code, measures, names of files and people."""
_IDENTIFIER = re.compile(r"[\w.:/@*+-]*[:_/@\d][\w.:/@*+-]*")
_WORD = re.compile(r"(?<![\\A-Za-z@])[^\W\d_]{3,}")
_PHRASE = re.compile(r"[^\W\d_]{2,},?\s+[^\W\d_]{2,}")


def may_be_words(argument: str, *, is_environment: bool) -> bool:
    """Whether the argument of an unknown command may be words; those of environments often are columns or measures."""
    words = _PHRASE if is_environment else _WORD
    return words.search(argument) is not None and not _IDENTIFIER.fullmatch(argument.strip())
