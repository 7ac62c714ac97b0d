"""Find passwords by what stands around them, in families: assignments, calls, markup, statements, sentences.

All patterns are searched in the text in lower case. Each repetition is bounded, and each begins with a word, so that
the time grows with the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from llmcli.redaction.format import Format
from llmcli.redaction.innocent_values import (
    INNOCENT_NAME,
    is_expression,
    is_placeholder,
    is_prose,
    is_status_word,
    is_varied,
    names_kept_secret,
)
from llmcli.redaction.literal_prefilter import PrefilteredPattern
from llmcli.redaction.normalization import Range
from llmcli.redaction.program_passwords import PROGRAMS
from llmcli.redaction.settings_lines import MAX_WORDS, is_message, is_phrase_of_settings
from llmcli.redaction.text_index import TextIndex

STRONG = (
    r"(?:pass(?:word|wort|wd|phrase|code|wrd|w)s?|pwd|kennwort|secret|mot ?de ?passe|motdepasse|contrase\u00f1a|contrasenya|contrasena|senha|wachtwoord|has\u0142o|heslo|l\u00f6senord|parola(?: d'ordine)?"
    r"|(?<![a-z])(?:pw|psk|pass|mdp)|(?<=[a-z0-9][_.-])(?:pass|pw)|(?<=db)(?:pass|pw)|(?<=my)pass|(?<=user)(?:pass|pw)|(?<=bind)(?:pass|pw)|(?<=root)(?:pass|pw)|(?<=admin)(?:pass|pw)|(?<=key)pass|(?<=store)pass|(?<=require)pass|(?<=ssh)pass|(?<=smtp)pass|(?<=mail)pass|(?<=wifi)pass|(?<=ftp)pass|(?<=[a-z]{4})(?<!over)(?<!tres)(?<!ncom)pass(?![a-z]))"
)
"""Words for a password, in lower case."""
WEAK = r"(?:token|api[ _-]?key|(?:access|private|secret|auth|account|encryption|signing|master|shared|storage|service|client|app|license|session|consumer)[ _-]?key|credentials?|masterauth|api[ _-]?token|(?<![a-z])auth)"
"""Words for keys and tokens, which also stand before other things."""
NAME = "@NAME@"
"""Stands for a name with a word for a secret at the beginning of a pattern: names are searched once for all patterns."""
_NAME = PrefilteredPattern(rf"(?=[pksmcwhl\u0161ate\u015f])(?:{STRONG}|{WEAK})(?:-?\w){{0,30}}", lowered=True)
PASSWORD_WORDS = ("pass", "pwd", "pw", "kennwort", "secret", "contrase", "senha", "wachtwoord", "has\u0142o", "heslo", "l\u00f6senord", "parola", "psk", "mdp",
                  "token", "key", "credential", "auth", "motdepasse", "mot de passe")  # fmt: skip
_STRONG_NAME = re.compile(STRONG)
_CORE = re.compile(rf"{STRONG}|{WEAK}")

_QUOTED = r"(?P<q>\\?\"\"\"|\\?\"|'''|\\?'|`)(?P<v>(?:(?!(?P=q))(?:\\.|[^\\\r\n])){1,200}?)(?P=q)"
_PREFIX = r"(?:[rubfnl]|br|cr?|@|\$|\\?&)?"
_BARE = r"(?P<b>[^\s\"'`<>]{3,200})"
_EITHER = rf"(?:{_QUOTED}|(?P<b>[^\s\"'`<>,;|&(){{}}]{{3,200}}))"
_ARG = r"(?:[a-z&*]{0,3}\"(?:[^\"\\\r\n]|\\.){0,160}\"|[a-z]{0,2}'(?:[^'\\\r\n]|\\.){0,160}'|[^,()\"'\r\n]{1,80}(?:\([^()\r\n]{0,60}\))?)"
_SOME = r"(?:some|string|s|text|new secretstring|securestring|new\s{1,3}\w{1,30})?\(?\s{0,3}"


def _call(names: str, before: int | str) -> str:
    return rf"(?<![a-z])(?:{names})\s{{0,2}}\(\s{{0,24}}(?:{_ARG}\s{{0,3}},\s{{0,24}}){{{before}}}(?:\w{{1,20}}\s{{0,2}}[=:]\s{{0,2}})?{_SOME}{_PREFIX}{_QUOTED}"


_DOC = "documentation of the program"
_LANGUAGE = "definition of the language"
_OBSERVED = "observed in public repositories"

ASSIGNMENTS = (
    Format("subscript or key, value in quotes", rf"{NAME}(?:\\?[\"'`]|[)\]}}]){{0,4}}\s{{0,20}}(?:=>|:=|<-|->|===?|!==?|=~|\|\|=|\?=|\+=|=|:|\|>)\s{{0,4}}(?:(?:[a-z.]{{1,20}}\(|[\[(])\s{{0,2}})?{_PREFIX}{_QUOTED}",
           'config["password"] = "\u27e6tigerlily\u27e7"', 'password = ""', _LANGUAGE, PASSWORD_WORDS),
    Format("declared with a type", rf"{NAME}(?:\[\w{{0,6}}\])?(?:\s{{0,2}}:\s{{0,2}}|\s{{1,2}})(?:as |const |constant )?(?:[&\[*']{{1,3}})?[a-z][\w<>\[\]?&'.() ]{{0,30}}?\s{{0,4}}(?::=|=)\s{{0,4}}{_PREFIX}{_QUOTED}",
           'let password: &str = "\u27e6tigerlily\u27e7";', "let password: String = read();", _LANGUAGE, PASSWORD_WORDS),
    Format("array of characters", rf"{NAME}\s?\[\w{{0,8}}\]\s{{0,4}}=\s{{0,4}}{_PREFIX}{_QUOTED}", 'char wifi_password[] = "\u27e6tigerlily\u27e7";', "char password[32];", "ISO C", PASSWORD_WORDS),
    Format("setter or constructor", rf"{NAME}(?:[!?]|::new|::from|\.(?:set|assign|of|value))?(?:\(|\s?\{{)\s{{0,4}}{_SOME}{_PREFIX}{_QUOTED}", 'account.setPassword("\u27e6greenfield\u27e7")',
           'getpass("Password: ")', _LANGUAGE, PASSWORD_WORDS),
    Format("name and value as arguments", rf"{NAME}[\w\]#)]{{0,3}}\\?[\"'`]\s{{0,3}}[\])]{{0,2}},\s{{0,6}}(?:with:\s?)?{_PREFIX}{_QUOTED}(?=\s{{0,3}}(?:[,)\]}}\r\n;]|$))",
           'props.put("db.password", "\u27e6tiger\u27e7");', '["user", "password", "email"]', _LANGUAGE, PASSWORD_WORDS),
    Format("text typed into a field", rf"{NAME}[\"'\])/i ]{{0,6}}\.(?:send_?keys|type|fill|set_?text|set_?value|sendline|send|value|val|input|enter|fill_in|equals|eq|fill_text|press_sequentially)(?:\(|\s?=\s?)\s{{0,3}}{_QUOTED}",
           'page.locator("#password").fill("\u27e6tiger\u27e7")', 'page.locator("#password").click()', "Selenium, Playwright, Cypress", PASSWORD_WORDS),
    Format("default of a variable", rf"{NAME}(?:[\"'\])]){{0,4}}\s{{0,2}}(?:\|\||\?\?|\?:|\bor\b|//)\s{{0,2}}{_QUOTED}", "process.env.DB_PASSWORD || '\u27e6tiger\u27e7'",
           "process.env.DB_PASSWORD || ''", _LANGUAGE, PASSWORD_WORDS),
    Format("default of a shell variable", rf"{NAME}:[-=+]?(?P<b>[^}}\s$?][^}}\s$]{{2,127}})\}}", "${DB_PASSWORD:-\u27e6tiger\u27e7}", "${DB_PASSWORD:-}", "POSIX shell, Spring", PASSWORD_WORDS),
    Format("block scalar of YAML", rf"{NAME}[\"']?:[ \t]{{0,4}}[|>][+-]?[0-9]?[+-]?[ \t]{{0,8}}\r?\n[ \t]{{1,40}}(?P<b>[^\r\n]{{3,400}})", "password: >-\n  \u27e6orangejuice\u27e7",
           "password: |\n  {{ password }}", "YAML 1.2", PASSWORD_WORDS),
    Format("value on the next line", rf"{NAME}[*_]{{0,2}}:[*_]{{0,2}}[ \t]{{0,4}}\r?\n(?:[ \t]{{0,4}}\r?\n)?[ \t>]{{0,12}}(?P<b>\S{{4,64}})[ \t]{{0,4}}$", "Your password:\n\u27e6tiger-lily7\u27e7",
           "password:\n  - a", _OBSERVED, PASSWORD_WORDS),
    Format("pair of name and value", rf"{NAME}\\?[\"']?[,;]?\s{{1,40}}(?:-\s)?\\?[\"']?(?:[a-z]{{0,12}}[_-]?(?:value|val)|default|content|data|text|plaintext)\\?[\"']?\s{{0,4}}(?:=>|[:=])\s{{0,4}}{_EITHER}",
           '{"ParameterKey": "DbPassword", "ParameterValue": "\u27e6lavender\u27e7"}', '{"name": "password", "value": ""}', "Kubernetes, CloudFormation, XML", PASSWORD_WORDS),
    Format("compact pair of name and value", rf"{NAME}\\?[\"'],\\?[\"']?(?:[a-z]{{0,12}}[_-]?(?:value|val)|default|content|data)\\?[\"']?\s{{0,4}}[:=]\s{{0,4}}{_EITHER}",
           '{"name":"DB_PASSWORD","value":"\u27e6lavender\u27e7"}', '{"name":"DB_PASSWORD","value":null}', "RFC 8259", PASSWORD_WORDS),
    Format("pair of value and name", rf"(?:value|val|content)\\?[\"']?\s{{0,4}}[:=]\s{{0,4}}{_QUOTED},?\s{{0,40}}\\?[\"']?(?:name|key|id|field)\\?[\"']?\s{{0,4}}[:=]\s{{0,4}}\\?[\"']?[\w.-]{{0,40}}{STRONG}[\w-]{{0,20}}",
           '{"value": "\u27e6lavender\u27e7", "name": "DB_PASSWORD"}', '{"value": "", "name": "DB_PASSWORD"}', "RFC 8259, XML", PASSWORD_WORDS),
    Format("variable of HCL with a default", rf"{NAME}\"\s{{0,4}}\{{[^{{}}]{{0,200}}?default\s{{0,10}}=\s{{0,4}}{_QUOTED}", 'variable "db_password" {\n  default = "\u27e6tiger\u27e7"\n}',
           'variable "db_password" {\n  type = string\n}', "HashiCorp HCL", ("default",)),
    Format("element of XML", rf"{NAME}[\"']?(?:\s[^<>\r\n]{{0,80}})?>\s{{0,40}}(?:<(?:\w{{1,8}}:)?(?:value|string|text)>\s{{0,20}})?(?:<!\[cdata\[)?(?P<b>[^<>\r\n]{{2,200}}?)\s{{0,40}}(?:\]\]>\s{{0,8}})?</", "<password>\u27e6tiger\u27e7</password>",
           '<label for="password">Password</label>', "XML", PASSWORD_WORDS),
    Format("value in the next element", rf"{NAME}[:*]?</[\w:-]{{1,20}}>\s{{0,40}}<[\w:-]{{1,20}}(?: [^<>\r\n]{{0,60}})?>\s{{0,10}}(?P<b>[^<>\r\n]{{2,200}}?)\s{{0,10}}</",
           "<key>password</key>\n<string>\u27e6lavender\u27e7</string>", "<key>password</key>\n<true/>", "Apple property lists, HTML", PASSWORD_WORDS),
    Format("attribute of XML", rf"{NAME}[\"'][^<>\r\n]{{0,80}}?\s(?:value|content|val)\s?=\s?{_QUOTED}", '<add key="DbPassword" value="\u27e6tiger\u27e7" />', '<input type="password" value="">', "XML, HTML", PASSWORD_WORDS),
    Format("Lisp, Tcl, directives: in quotes", rf"{NAME}['\"]?[ \t]{{1,4}}(?:\.[ \t])?(?P<q>[\"'])(?P<v>(?:(?!(?P=q))[^\r\n]){{1,200}}?)(?P=q)", '(setq my-password "\u27e6tiger\u27e7")',
           "password 'is required'", _LANGUAGE, PASSWORD_WORDS),
    Format("definition of the preprocessor", rf"#[ \t]{{0,4}}define[ \t]{{1,8}}\w{{0,40}}?(?P<n>{STRONG}\w{{0,30}})[ \t]{{1,40}}{_EITHER}", '#define WIFI_PASS "\u27e6homesweethome\u27e7"', "#define MAX_PASSWORD_LENGTH 64", "ISO C", ("define",)),
    Format("line of settings", rf"{NAME}[\"']?[ \t.]{{0,40}}[=:][ \t]{{0,4}}(?P<b>[^\s\"'`][^\r\n]{{2,200}}?)[ \t]{{0,8}}$",
           "spring.datasource.password=\u27e6tiger\u27e7", "password: required", ".env, INI, Java properties, YAML", PASSWORD_WORDS),
    Format("field of a record of psql", rf"{NAME}[ \t]{{1,40}}\|[ \t](?P<b>\S{{3,128}})[ \t]{{0,4}}$", "password   | \u27e6tigerlily\u27e7", "| password | The password |", "psql", ("|",)),
    Format("directive", r"^[ \t]{0,16}(?:bindpw|rootpw|auth_pass(?:word|wd)?|\w{1,20}_(?:password|passwd)|requirepass|masterauth|masterpass|sasl_passwd|smtp_pass|user_pass|ssl_passphrase|secret|neighbor \S{1,60} password|enable (?:secret|password)(?: [0-9])?|ssid-password"
           r"|key-string(?: [0-9])?|wpa-psk ascii|wpa-psk|pre-shared-key|password(?: [0-9])?|pass|passphrase|tacacs-server key(?: [0-9])?|radius-server key(?: [0-9])?|config set requirepass|set password)[ \t]{1,8}\"?(?P<b>[^\s\"]{3,128})\"?[ \t]{0,8}$",
           "requirepass \u27e6sparrow\u27e7", "password required", "Redis, OpenLDAP, hostapd, Cisco IOS", PASSWORD_WORDS),
    Format("instruction with a name and a value", r"^[ \t]{0,16}(?:env|arg|export|setenv|setx|set -\w{1,6}|set|git config --global)[ \t]{1,4}(?:/m )?[\w.]{0,40}(?P<n>" + STRONG + r"|token|api_?key|access_?key)\w{0,20}[ \t]{1,8}" + _EITHER,
           "ENV MYSQL_ROOT_PASSWORD \u27e6sparrow\u27e7", "ENV PASSWORD_FILE /run/secrets/x", "Dockerfile, csh, fish, Windows", PASSWORD_WORDS),
    Format("user and password of a router", r"username[ \t]\S{1,60}[ \t](?:privilege [0-9]{1,2} )?(?:password|secret)[ \t](?:[0-9] )?(?P<b>\S{3,128})", "username bob password 0 \u27e6tiger\u27e7", "username and password are sent", "Cisco IOS", ("username",)),
    Format("community of SNMP", r"(?:snmp-server community|^[ \t]{0,8}r[ow]community6?|snmp\w{2,10}[ \t][^\r\n|;&]{0,80}?-v[ \t]?[12]c?[ \t][^\r\n|;&]{0,80}?-c)[ \t]{1,4}(?!(?:public|private)\b)(?P<b>[^\s]{3,64})", "snmp-server community \u27e6tigers\u27e7 RO", "rocommunity public", "Cisco IOS, Net-SNMP", ("community", "snmp")),
    Format("user of SNMP version 3", r"createuser[ \t]{1,4}(?:-e[ \t]\S{1,40}[ \t])?\S{1,40}[ \t]{1,4}(?:md5|sha[0-9-]{0,8})[ \t]{1,4}\"?(?P<b>[^\s\"]{4,64})\"?(?:[ \t]{1,4}(?:aes|des)[0-9-]{0,8}[ \t]{1,4}\"?(?P<x>[^\s\"]{4,64})\"?)?", "createUser bob SHA \u27e6oyster77\u27e7 AES", "createUser bob", "Net-SNMP", ("createuser",)),
    Format("key of a wireless network", r"(?:key content|schl\u00fcsselinhalt|contenu de la cl\u00e9|contenido de la clave|contenuto chiave)[ \t]{0,24}:[ \t]{1,4}(?P<b>\S{8,63})", "Key Content : \u27e64471902836\u27e7", "Key Content :", "Windows", ("key content", "schl\u00fcsselinhalt", "contenu de la cl", "contenido de la clave", "contenuto chiave")),
    Format("name and password in a file of OpenVPN", r"<auth-user-pass>\s{0,8}\n[^\r\n<]{1,80}\r?\n(?P<b>[^\r\n<]{2,128})\r?\n</", "<auth-user-pass>\nbob\n\u27e6oyster77\u27e7\n</auth-user-pass>", "auth-user-pass login.conf", "OpenVPN", ("<auth-user-pass>",)),
    Format("shared key of IPsec", r"(?:isakmp key(?: [0-9])?|:[ \t]{0,4}psk)[ \t]{1,8}\"?(?P<b>[^\s\"]{4,128})|:[ \t]{0,4}(?:eap|xauth|ntlm|(?:rsa|ecdsa|pkcs8|p12)[ \t]\S{1,80})[ \t]{1,8}\"(?P<v>[^\"\r\n]{3,128})\"", "crypto isakmp key \u27e6tigers1\u27e7 address 1.2.3.4", "crypto isakmp policy 10", "Cisco IOS, strongSwan", ("isakmp key", "psk", ": eap", ": xauth", ": ntlm", ": rsa", ": ecdsa", ": pkcs8", ": p12")),
    Format("parameter of an address or form", r"[?&;](?:[\w.-]{0,30})(?P<n>" + STRONG + r"|token|api_?key|access_?token|sig|signature)(?:=|%3d)(?P<b>[^\s&;\"'<>]{3,400})", "username=bob&password=\u27e6tiger\u27e7&x=1", "?password=&x=1", "WHATWG URL", ("=", "%3d")),
    Format("connection string", r"(?:^|[;\"' ])(?:password|pwd|user password|accountkey|sharedaccesskey|sharedsecretvalue)[ \t]?=[ \t]?\{?(?P<b>[^;`\"'\s]{3,200})", "Server=h;User Id=bob;Password=\u27e6tiger\u27e7;", "Server=h;Trusted_Connection=yes;", "ODBC, ADO.NET, Azure", ("password", "pwd", "accountkey", "sharedaccess")),
)  # fmt: skip
"""Forms in which a name stands before its value."""

STATEMENTS = (
    Format("SQL: a value named password", r"'(?P<v>[^'\r\n]{2,128})'\s{1,4}(?:as\s{1,4})?[\"`\[]?(?:\w{0,20}_)?(?:password|passwd|pwd|pass|secret)[\"`\]]?(?![\w(])", "SELECT 'bob' n, '\u27e6oyster77\u27e7' AS password", "SELECT '' AS password", "SQL", ("password", "passwd", "pwd", "secret")),
    Format("SQL: login of a linked server", r"sp_addlinkedsrvlogin\s[^\r\n;]{0,200}?,\s{0,4}n?'[^'\r\n]{1,64}'\s{0,2},\s{0,4}n?'(?P<v>[^'\r\n]{1,128})'\s{0,4}(?=;|$)", "EXEC sp_addlinkedsrvlogin 'S', 'false', NULL, 'bob', '\u27e6oyster\u27e7'", "EXEC sp_addlinkedsrvlogin 'S'", "SQL Server", ("sp_addlinked",)),
    Format("constructor of a value", r"(?:(?:pass(?:word|wd|phrase)?|pwd|pw|secret))\w{0,20}\s{0,3}(?::=|:[\w<>&' ]{1,24}=|=)\s{0,3}(?:new\s)?(?:\w{1,24}(?:::|\.))?[\w\[\]]{1,24}\s?(?:\[\])?\s?[({]\s{0,2}" + _PREFIX + _QUOTED, 'passwd := []byte("\u27e6oyster\u27e7")', 'passwd := os.Getenv("PW")', "Go, Rust, C#, Java", ("pass", "pwd", "pw", "secret")),
    Format("several variables at once", r"(?:pass(?:word|wd)?|pwd|pw)\s{0,2}[\])}]?\s{0,2}=\s{0,2}[\[({]?\s{0,2}" + _ARG + r"\s{0,2},\s{0,2}" + _PREFIX + _QUOTED, "const [user, password] = ['bob', '\u27e6oyster42\u27e7'];", "user, password = read()", "Python, JavaScript, Go", ("pass", "pwd", "pw")),
    Format("atom and value", r"(?<!\w):(?:\w{0,20}_)?(?:password|passwd|secret|pwd)\s{0,2},\s{0,2}" + _QUOTED, ':password, "\u27e6oyster\u27e7"', ":password, presence: true", "Elixir, Ruby", (":pass", "_pass", ":secret", "_secret", ":pwd")),
    Format("quotation of Perl and Ruby", r"(?:pass(?:word|wd)?|pwd|pw|secret)\w{0,20}\s{0,3}(?:=>?|:)\s{0,3}%?q[qw]?\s?(?:\{(?P<v>[^}\r\n]{2,128})\}|\((?P<s>[^)\r\n]{2,128})\)|[\[|/!<](?P<b>[^\r\n\]|/!>]{2,128})[\]|/!>])", "password: %q(\u27e6it's oyster!\u27e7)", "$pass = q{};", "Perl, Ruby", ("pass", "pwd", "pw", "secret")),
    Format("bytes of a key", r"(?<![a-z])(?:\w{0,24}_)?(?:key|secret|iv|salt|psk)(?:_?bytes)?\s{0,2}(?:\[\w{0,12}\]|:\s{0,2}\[[\w; ]{1,16}\])?\s{0,2}=\s{0,2}(?:new\s)?(?:byte\[\]\s?|\[\]byte\s?|bytes\()?[\[{]\s{0,8}(?P<b>(?:0x)[0-9a-f]{1,2}(?:,\s{0,12}0x[0-9a-f]{1,2}){7,63})", "uint8_t aes_key[8] = {\u27e60x81, 0x2e, 0x2a, 0xc6, 0xf9, 0x50, 0x95, 0x2f\u27e7};", "uint8_t table[2] = {0x81, 0x2e};", "ISO C, Go, Java", ("0x",)),
    Format("MOVE of COBOL", r"\bmove\s{1,4}(?P<q>[\"'])(?P<v>[^\"'\r\n]{2,64})(?P=q)\s{1,4}to\s{1,4}[\w-]{0,30}(?:pass|pwd|pw|secret)", 'MOVE "\u27e6oyster\u27e7" TO WS-PASSWORD.', 'MOVE "x" TO WS-NAME.', "COBOL", ("move",)),
    Format("comparison with the value first", r"(?P<q>[\"'])(?P<v>[^\"'\r\n]{2,64})(?P=q)\)?(?:\.equals(?:ignorecase)?\(|\s{0,2}(?:===?|!==?|-eq|-ne|eq|ne)\s{0,2}|,\s{0,2}(?=[\w.]{0,30}get))[\w.$>-]{0,40}?(?:pass(?:word|wd|phrase)?|pwd|secret)(?!_?hash)", 'if ("\u27e6oyster\u27e7" == password)', 'if ("" == password)', _OBSERVED, ("pass", "pwd", "secret")),
    Format("function for a login with a host", _call(r"(?:ssh|smtp|client|ftp|conn|session|imap|pop3|net::\w{2,6})(?:\.|->|::)(?:connect|start|login|open|auth)", "3,4"), 'ssh.connect("h", 22, "bob", "\u27e6oyster42\u27e7")', "ssh.connect(h, 22)", "Paramiko, Ruby", ("connect(", "start(", "login(", "open(", "auth(")),
    Format("client with a name and a password", _call(r"(?:\w{0,20}client|session|connection|server|api|telnet|account|user)", 1), 'Client("bob", "\u27e6oyster42\u27e7")', 'Client("bob", 42)', _OBSERVED, ("client(", "session(", "connection(", "server(", "api(", "telnet(", "account(", "user(")),
    Format("SQL: IDENTIFIED BY", r"identified(?! by (?:running|using|means|its?|the|an?|this|name|number|one)\b)(?:[ \t]+with[ \t]+\w{1,40})?\s{1,4}(?:by|as|via \w{1,30} using)(?:\s{1,4}(?:values|password))?\s{1,4}(?:password\()?(?:(?P<q>[\"'])(?P<v>(?:[^\"'\r\n]|''){1,128})(?P=q)|(?P<b>[^\s;\"'`(),]{3,64}))",
           "ALTER USER scott IDENTIFIED BY \u27e6sparrow\u27e7;", "CREATE USER x IDENTIFIED EXTERNALLY", "Oracle, MySQL", ("identified",)),
    Format("SQL: PASSWORD '...'", r"(?<![\"'`\w.-])password(?:\s{1,4}|\s{0,4}=\s{0,4}|(?=\())(?:(?:old_)?password)?\(?\s{0,2}(?:n|e)?(?P<q>['\"])(?P<v>(?:[^'\"\r\n]|''){1,128})(?P=q)", "CREATE ROLE bob LOGIN PASSWORD '\u27e6sparrow\u27e7';", "PASSWORD ''", "PostgreSQL, SQL Server", ("password",)),
    Format("SQL: SET PASSWORD FOR", r"set\s{1,4}password\s{1,4}for\s{1,4}[^\s=]{1,80}\s{0,4}(?:=|to)\s{0,4}(?:password\()?(?P<q>['\"])(?P<v>[^'\"\r\n]{1,128})(?P=q)", "SET PASSWORD FOR 'bob'@'%' = '\u27e6merlin5\u27e7'", "SET PASSWORD FOR bob TO RANDOM", "MySQL, MariaDB", ("set password",)),
    Format("SQL: procedures for logins", r"(?:sp_addlogin|sp_password|sp_grantlogin|dbms_crypto\S{0,20})\s{1,4}" + _ARG + r"\s{0,2},\s{0,4}n?(?P<q>')(?P<v>[^'\r\n]{1,128})(?P=q)", "EXEC sp_addlogin 'bob', '\u27e6sparrow\u27e7'", "EXEC sp_who", "SQL Server", ("sp_",)),
    Format("SQL: keys of encrypted databases", r"(?:pragma (?:hex)?(?:re)?key\s?=\s?|\bkey\s{1,2}(?=')|by password\s?=\s?n?)(?:\"?x?)(?P<q>['\"])(?P<v>[^'\"\r\n]{1,128})(?P=q)", "PRAGMA key = '\u27e6sparrow\u27e7';", "PRAGMA foreign_keys = ON", "SQLCipher, SQL Server", ("pragma", "attach", "by password")),
    Format("functions that encrypt or hash", _call(r"(?:pgp_sym_(?:en|de)crypt|(?:aes|des)_(?:en|de)crypt|encryptbypassphrase|openssl_encrypt)", "1,2"), "SELECT pgp_sym_encrypt('data', '\u27e6sparrow\u27e7')", "pgp_sym_encrypt(a, b)", "PostgreSQL, MySQL", ("crypt",)),
    Format("functions that hash a password", _call(r"(?:crypt|bcrypt\.(?:hash(?:sync|pw)?|check_?pw|compare(?:sync)?)|hashpw|checkpw|password_hash|password_verify|make_password|check_password|verify_password|generate_password_hash|argon2\.\w{1,20}|scrypt|pbkdf2\w{0,8}|htpasswd|pwhash\.\w{1,20}|password_hasher\.\w{1,20})", 0),
           'bcrypt.hashpw(b"\u27e6tiger\u27e7", salt)', "bcrypt.hashpw(password, salt)", "bcrypt, PHP, Django", ("crypt", "hash", "pw(", "password", "pbkdf2", "argon2")),
    Format("function for a login: name, password", _call(r"(?:\w{0,30}\.)?(?:log_?in|sign_?in|logon|auth(?:enticate)?|basic_?auth|set_?basic_?auth|http_?basic_?auth\w{0,10}|http_?digest_?auth|network_?credential|password_?authentication|username_?password_?\w{0,16}|credentials?(?:\.\w{1,12})?|password_?credentials?|create_?user|add_?user|register|signup|sign_?up|client\.login|connect_?as|password_?auth|plain_?auth|user_?info|url\.userpassword|userpassword|with_?credentials|set_?credentials|username_pw_set|wifi\.begin|ldap_?bind|simple_bind_s?|bind_s?|\$?\w{0,12}->login|basicauth)", 1),
           'new NetworkCredential("bob", "\u27e6tiger\u27e7")', 'login("bob", password)', "libraries of many languages", ("(",)),
    Format("function for a connection: host, name, password", _call(r"(?:\w{0,30}(?:::|->|\.))?(?:mysqli(?:_connect)?|get_?connection|pdo(?:->__construct)?|connect|oci_connect|pconnect|mysql_connect|odbc_connect|ibase_connect|createaccount|smtp\.plainauth|plainauth|drivermanager\.getconnection|ldap_bind|createuserwithemailandpassword|signinwithemailandpassword|ftp_login|ssh2_auth_password)", 2),
           'DriverManager.getConnection(url, "bob", "\u27e6tiger\u27e7")', "connect(host, user, password)", "JDBC, PHP, Perl DBI", ("(",)),
    Format("connection of Perl", r"dbi->connect\(\s{0,8}" + _ARG + r"\s{0,2},\s{0,8}" + _ARG + r"\s{0,2},\s{0,8}qq?\{(?P<v>[^{}\r\n]{3,128})\}", 'DBI->connect("dbi:Pg:dbname=a", "bob", q{\u27e6oyster42\u27e7})', 'DBI->connect("dbi:Pg:dbname=a", "bob", q{})', "Perl DBI", ("dbi->connect",)),
    Format("keyword argument auth", r"\bauth\s?[=:]\s?[(\[{]\s{0,2}(?:user(?:name)?:\s?)?" + _ARG + r"\s{0,2},\s{0,4}(?:pass(?:word)?:\s?)?" + _QUOTED, 'auth=("bob", "\u27e6tiger\u27e7")', "auth=(user, password)", "requests, httpx", ("auth",)),
    Format("plain text to a secure string", r"convertto-securestring(?:[ \t]+-(?:asplaintext|force|string))*[ \t]+(?P<q>[\"'])(?P<v>[^\"'\r\n]{1,128})(?P=q)", 'ConvertTo-SecureString "\u27e6Winter2024!\u27e7" -AsPlainText', "ConvertTo-SecureString $p", "PowerShell", ("securestring",)),
    Format("answer of expect", r"expect\w{0,10}[ (\"'{*:]{1,6}[^\r\n]{0,30}(?:assw|asscode|assphrase|\bpin)[^\r\n]{0,40}(?:\r?\n|[;{])[ \t]{0,12}(?:child\.|\w{1,12}\.)?send(?:line)?[ \t(]{1,3}(?:-- )?(?P<q>[\"'])(?P<v>(?:(?!(?P=q)|\\[rn])[^\r\n]){2,128})", 'expect "assword:"\nsend "\u27e6tiger\u27e7\\r"', 'expect "$ "\nsend "ls\\r"', "expect, pexpect", ("expect",)),
    Format("user and password of MongoDB and Redis", r"(?:^|> ?)(?:auth|hello [23] auth)[ \t]+(?:[\w-]{1,40}[ \t]+)?(?P<b>[^\s(){}:,=]{5,128})[ \t]{0,4}$", "AUTH \u27e6tiger12\u27e7", "auth required", "Redis", ("auth",)),
)  # fmt: skip
"""Statements and calls."""


_IS = r"(?:is|was|are|will be|=|:|ist|lautet|war|hei\u00dft|wurde auf|est(?: maintenant)?|\u00e9tait|sera|es|era|ser\u00e1|\u00e8|sar\u00e0|\u00e9|foi|ser\u00e1|luidt|wordt|(?:(?:has been|was|is|now) )?(?:set|changed|reset|updated) to|now|is now|is still|auf|remains|en|metti|usa|gewijzigd naar|veranderd in|ge\u00e4ndert (?:auf|zu|in)|cambiat[ao] in|chang\u00e9 (?:en|pour)|cambiad[ao] (?:a|por)|alterad[ao] para|ora \u00e8|agora \u00e9|ahora es)"
_END = r"(?=[.,;:!?)]{0,3}(?:\s|$))"
_STATED = r"(?:pass(?:word|wort|phrase|code|wd)|pwd|pw|pass|kennwort|mot de passe|mdp|contrase\u00f1a|contrasena|(?<!palabra )clave|senha|parola(?: d'ordine)?(?! chiave)|wachtwoord|l\u00f6senord|has\u0142o|heslo|salasana|passord|adgangskode|(?:client|shared|api|app) secret|passphrase|credentials?|wlan-schl\u00fcssel|netzwerkschl\u00fcssel|palavra-passe|codice segreto|(?<!parola )chiave|phrase secr\u00e8te|frase (?:segreta|secreta|de paso))"
HEADERS = (
    Format("header with a key", r"(?<![\w-])(?:x-[\w-]{0,24}(?:key|token|secret|auth|password|signature)|(?:proxy-)?authorization|api-?key|ocp-apim-subscription-key|private-token|job-token)(?:\\?[\"']\s{0,2}[:=,]|\s{0,2}[:=])\s{0,3}\\?[\"']?(?:(?:bearer|basic|token|apikey|digest|negotiate|bot|key|splunk|genie\w{0,6}|aws4-hmac-sha256)\s{1,2})?(?P<b>[^\s\"',;\\{}<>]{6,4000})",
           "X-Api-Key: \u27e6tigertiger\u27e7", "X-Api-Key: <key>", "RFC 9110", ("x-", "authorization", "api-key", "apikey", "-token")),
    Format("cookie of a session", r"(?<![\w-])[\w.-]{0,30}(?:sess(?:ion)?(?:_?id)?|sid|phpsessid|jsessionid|auth|jwt|token|remember\w{0,12})=(?P<b>[^;\s\"',&]{6,4096})", "Cookie: session=\u27e6tigertigertiger\u27e7", "Cookie: theme=dark", "RFC 6265", ("cookie", "sessionid", "sessid", "-b ")),
    Format("Oracle: name/password@SERVICE", r"(?<![\w/.@:-])[a-z][\w$]{1,29}/(?P<b>[^\s/@\"':]{2,64})@(?P<host>[a-z][a-z0-9_]{2,30})(?![\w./-])", "scott/\u27e6tiger\u27e7@ORCL", "actions/checkout@v4", "Oracle", ("@",)),
)  # fmt: skip
"""Headers of HTTP and addresses of databases."""

STATED = "@STATED@"
_STATED_NAME = PrefilteredPattern(rf"(?<![\w.(-])(?=[pkmcswlha]){_STATED}s?(?!\w)", lowered=True)
SENTENCES = (
    Format("code that is announced", r"(?:your|the|ihr|dein|votre|ton|tu|su|il tuo|o seu|je|uw)(?: [\w-]{1,16}){0,2} (?:code|otp|passcode|pin|tan|codice|c\u00f3digo)(?: (?:is|ist|lautet|est|es|\u00e8|\u00e9))?:? (?:is )?(?P<b>[0-9]{3}[ -]?[0-9]{1,5})(?![\w.,-]?[0-9])", "Your code is \u27e6482-913\u27e7", "your code is ready", _OBSERVED, ("code", "otp", "pin", "tan", "codice", "c\u00f3digo")),
    Format("number of three digits on a card", r"(?<![\w-])(?:cvv2?|cvc2?|cid|security code|(?:code|digits|number) on the back(?: of (?:the|my|your) card)?|kartenpr\u00fcfnummer|pr\u00fcfnummer|cryptogramme)[ \t]{0,2}(?:[:=#]|is|are|ist|est)?[ \t]{0,2}(?P<b>[0-9]{3,4})(?![\w-]|[.,]\w)", "CVV \u27e6123\u27e7", "CVV required", "ISO/IEC 7813", ("cvv", "cvc", "security code", "on the back", "pr\u00fcfnummer", "cryptogramme")),
    Format("mismatch of passwords", r"password[^\r\n]{0,24}?(?:expected|(?<=password )from|got|instead of|received|was|tried|entered|typed|using|guess(?:ed)?)[ \t:]{1,3}[\"'`]?(?P<b>[^\s\"'`,;]{5,64})", "password mismatch: expected \u27e6oyster42\u27e7, got x", "password was changed", _OBSERVED, ("password",)),
    Format("name / password alone on a line", r"^[ \t>*-]{0,6}[a-z][\w.@-]{1,30}[ \t]{1,2}/[ \t]{1,2}(?P<b>[^\s/|:]{6,40})[ \t]{0,3}$", "bob / \u27e6oyster99!\u27e7", "login / logout", _OBSERVED, (" / ",)),
    Format("label: password, at the end of a line", rf"{STATED}[ \t]{{0,2}}[:=\uff1a][ \t]{{1,3}}(?P<b>[^\s\"'`<>,;()]{{4,64}})(?=[ \t]{{0,3}}[\"']?(?:$|[|/](?:[ \t]|$)))", "User: bob / Password: \u27e6tiger\u27e7", "Password: required", _OBSERVED, ("pass", "pw", "kennwort", "contrase", "clave", "senha", "parola", "wachtwoord", "l\u00f6senord", "has\u0142o", "heslo", "secret", "mdp")),
    Format("sentence: the password is ...", rf"{STATED}(?:(?: (?:for|to|of|on|at|f\u00fcrs?|zum|zur|von|vom|im|am|beim|des|der|pour|du|de|de la|del|para|do|da|di|per|van|voor)(?: [\w'@.-]{{1,24}}){{1,4}}?)(?:[ \t]{{1,3}}|(?=:))|[ \t]{{1,3}})(?:{_IS}:?[ \t]{{1,3}}){{1,2}}[\"'`\u201c\u201e\u00ab*_]{{0,2}}[ ]?(?P<b>[^\s\"'`\u201c\u201d\u00bb]{{3,64}}?)[\"'`\u201d\u201c\u00bb*_]{{0,2}}{_END}",
           "the password is \u27e6swordfish\u27e7", "the password is wrong", "languages: English, German, French, Spanish, Italian, Portuguese, Dutch", ("pass", "pw", "kennwort", "contrase", "clave", "senha", "parola", "wachtwoord", "l\u00f6senord", "has\u0142o", "heslo", "secret", "credential", "schl\u00fcssel", "mdp", "salasana", "adgang", "palabra", "chiave", "codice")),
    Format("sentence: the password is, and the next line", rf"{STATED}[ \t]{{1,3}}(?:\w{{1,12}}[ \t]){{0,2}}{_IS}:[ \t]{{0,4}}\r?\n(?:[ \t]{{0,4}}\r?\n)?[ \t>*-]{{0,12}}(?P<b>\S{{5,64}})[ \t]{{0,4}}$", "The password is:\n\n  \u27e6oyster-77\u27e7", "The password is:\n- kept", _OBSERVED, ("pass", "pw", "kennwort", "contrase", "clave", "senha", "parola", "wachtwoord", "mdp")),
    Format("sentence: password ..., in quotes", rf"{STATED}(?: [\w']{{1,12}}){{0,3}}[ \t:]{{1,3}}[\"'`\u201c\u201e\u00ab](?P<b>[^\"'`\u201c\u201d\u00bb\r\n]{{3,64}})[\"'`\u201d\u201c\u00bb]", "password '\u27e6sparrow\u27e7' rejected for user bob", "the password 'is required'", _OBSERVED, ("pass", "pw", "kennwort", "contrase", "clave", "senha", "parola", "wachtwoord", "secret", "mdp")),
    Format("sentence: with password ...", rf"{STATED}[ \t:=/]{{1,3}}(?P<b>[^\s\"'`<>]{{4,64}}?){_END}", "login failed for bob with password \u27e6sparrow7\u27e7", "failed with password authentication", _OBSERVED, ("pass", "pw", "kennwort", "contrase", "clave", "senha", "parola", "wachtwoord", "secret", "mdp")),
    Format("number: PIN, one-time code", r"(?<![a-z0-9-])(?:pin[0-9]?(?:-?code)?|puk[0-9]?|tan|otp|cvv2?|cvc2?|(?:verification|security|access|one-time|login|auth\w{0,12}|confirmation|2fa|mfa|sms|door|gate|alarm|unlock|safe|entry|pin|reset|backup|recovery|invite|pairing|activation)[ _-]?code|digicode|best\u00e4tigungscode|sicherheitscode|zugangscode|code (?:pin|d(?:e l'|e la |u |')(?:alarme|porte|portail|immeuble|entr\u00e9e|coffre|carte)|de v\u00e9rification|de s\u00e9curit\u00e9|d'acc\u00e8s)|c\u00f3digo(?: de \w{1,16})?|codice(?: di \w{1,16})?|verificatiecode|pincode|geheimzahl|toegangscode)(?: (?:for|f\u00fcr|zum|of|to|vom|von|am|an|im|auf|pour|de|du|del|della|dell'|al|der|des|da|do|na|no|para|per|voor|van|on|at)(?: ?[\w'.-]{1,16}){1,6}?)?[ \t]{0,2}[\"']?(?:=|:|#|\||(?:is|ist|lautet|est|c'est|es|\u00e8|\u00e9|was|war|luidt)\b)?[ \t]{0,2}(?:is |now )?[\"'`*]{0,2}(?P<b>(?:[a-z]-)?[0-9](?:[ -]?[0-9]){3,9})(?![\w-]|[.,]\w)", "my pin is \u27e64821\u27e7", "status code: 200", _OBSERVED, ("pin", "puk", "tan", "otp", "cv", "code", "c\u00f3digo", "codice", "geheimzahl")),
    Format("sentence: the password, it is ...", rf"{STATED}(?:[ \t][\w'@-]{{1,20}}+){{0,6}}?[,?:;-]{{0,2}}[ \t](?:c['\u2019]est|\u00e7a donne|it['\u2019]s|it is|that['\u2019]s|that is|das ist|das w\u00e4re|dat is|het is|isso \u00e9|eso es|questa \u00e8)[ \t:]{{1,3}}[\"'`\u201c\u201e\u00ab*_]{{0,2}}(?P<b>[^\s\"'`\u201c\u201d\u00bb]{{5,64}}?)[\"'`\u201d\u201c\u00bb*_]{{0,2}}{_END}", "le mot de passe du wifi c'est \u27e6Tournesol_904\u27e7", "le mot de passe c'est obligatoire", "languages: English, German, French, Spanish, Italian, Portuguese, Dutch", ("pass", "pw", "kennwort", "contrase", "clave", "senha", "parola", "wachtwoord", "secret", "mdp")),
    Format("message that ends with a password", rf"{STATED}(?:[ \t](?!(?:must|should|see|rules?|policy|format|pattern|regex|using|algorithm|file|url|page|via|version|documented|stored|in)\b)[^\s:\"]{{1,48}}+(?::(?=\d))?){{1,10}}:(?:[ \t]{{1,4}}|[ \t]{{0,4}}\r?\n(?:[ \t]{{0,4}}\r?\n)?[ \t>]{{0,12}})(?P<b>[^\s\"'`<>]{{7,64}})[ \t]{{0,4}}$", "A temporary password is generated for root@localhost: \u27e6i&uQ4k)zWs;P\u27e7", "The password is read from this file: settings.local", "MySQL, Elasticsearch", ("pass", "pw", "kennwort", "contrase", "clave", "senha", "parola", "wachtwoord", "secret", "mdp")),
    Format("number before its name", r"(?<![\w.,-])(?P<b>(?:g-)?[0-9]{3}[ -]?[0-9]{3,5})[\"']? (?:is|ist|est|es|as|als) (?:your|the|my|dein|ihr|votre|ton|tu|su|der)(?: [\w'-]{1,16}){0,3} (?:code|pin|otp|passcode|tan)\b", "\u27e6482913\u27e7 is your login code", "200 is the status", _OBSERVED, ("code", "pin", "otp", "tan")),
    Format("words of a wallet (BIP-39)", r"(?:seed|mnemonic|recovery|wallet|secret|backup|bip-?39)(?:[ _-](?:phrase|words?|recovery|seed|wallet|mnemonic|backup|passphrase)){0,3}[\"']?[^\r\n]{0,40}?[ :=\"'\r\n)!.]{1,6}\s{0,4}(?P<b>(?:(?:[0-9]{1,2}[.):]?[ ])?[a-z]{3,8}(?:[ ,]{1,2}|[ ]?\r?\n)){11,23}(?:[0-9]{1,2}[.):]?[ ])?[a-z]{3,8})(?![\w ])?", "seed phrase: \u27e6abandon ability able about above absent absorb abstract absurd abuse access accident\u27e7", "seed phrase of twelve words", "BIP-39", ("seed", "mnemonic", "recovery", "wallet", "secret", "backup", "bip")),
    Format("app password of Google and Apple", r"app(?:lication)?[- _]?(?:specific[- _])?password\w{0,3}[\"']?[^\r\n]{0,24}?[ :=\"']{1,4}(?P<b>[a-z]{4}([ -])[a-z]{4}\2[a-z]{4}\2[a-z]{4})(?!\w)".replace(r"([ -])", "[ -]").replace(r"\2", "[ -]"), "app password: \u27e6abcd efgh ijkl mnop\u27e7", "app password page", "Google, Apple", ("app",)),
    Format("name / password", r"(?:login|credentials?|user(?:name)?|account|zugang|zugangsdaten|log in|sign in|anmeldung|acceso|accesso|identifiants?)(?: (?:is|are|with|as|for|ist|sind|:))?[ :=]{1,3}(?:(?:is|are|with|as) )?[\"'`]?[\w.@-]{2,40}[\"'`]?(?:[ \t]{0,2}/[ \t]{0,2}|[ \t](?:and|with|und|mit|et|y|e|en)[ \t](?:(?:the )?(?:password|pw|pass) )?)[\"'`]?(?P<b>[^\s\"'`/]{4,64}?)[\"'`]?" + _END, "credentials are bob / \u27e6tiger99\u27e7", "login / logout", _OBSERVED, ("login", "credential", "user", "account", "zugang", "log in", "sign in", "anmeldung", "acceso", "accesso", "identifiant")),
    Format("use ... to log in", r"\b(?:use|try|enter|type|with|using|put in|nimm|benutze|verwende|utilise|usa|gebruik)[ \t][\"'`]?(?P<b>[^\s\"'`]{5,64}?)[\"'`]?[ \t](?:to (?:log|sign|get|unlock|connect)|as (?:the|your|a) (?:temp\w{0,6} |new |initial |default |one-time )?(?:pass\w{0,6}|pin|pw|code|one-time code|login|otp)|(?:zum|als) (?:anmelden|login|passwort|kennwort)|for (?:the )?(?:login|password|wifi|wi-fi))", "use \u27e6sunshine42\u27e7 to log in", "use it to log in", _OBSERVED, ("use", "try", "enter", "type", "with", "using", "put in", "nimm", "verwende", "utilise", "usa", "gebruik")),
)  # fmt: skip
"""Sentences, messages of programs."""

_BLOCK_BEFORE = re.compile(
    r"(?<!\w)(?:resource|data|ephemeral|module|output|provider|import|moved|removed)[ \t]{1,4}\"[\w-]{0,60}\Z"
)
"""The first label of a block of HCL: the second one is a name."""
_MAX_BLOCK_CHARS = 80
_MEMBER_BEFORE = re.compile(r"\b(?:self|this)\.\Z")
_ITEM_ENDS = frozenset(",]")
_ITEM_BEFORE = re.compile(r"[\"'],\s{0,40}[\"'][a-z]{0,24}[-_:]?\Z")
"""An item of a list of words stands before the name, which is an item, too."""
_READS_SETTING = re.compile(
    r"(?:env(?:iron)?|environment_?variable|get_?secret|get_?setting|get_?param(?:eter)?|lookup|prompt|readline|getpass|hiera|vault)\([\"']\Z"
)
"""A call that reads a secret: its argument is a name, or a question."""
_SIGNS_OF_CODE = re.compile(r"[=(){}<>;|,:]")
_WORD_ENDS = re.compile(r"(?:s|text|value|string|str|plain|hash|key|code|phrase|word|wd)?(?![a-z])")


def _is_longer_word(lowered: str, start: int, end: int) -> bool:
    """Return whether the name is a word that only begins like a word for a secret ("secretary")."""
    cores = [core.end() for core in _CORE.finditer(lowered, start, end)]
    return bool(cores) and not any(_WORD_ENDS.match(lowered, core_end, end) for core_end in cores)


def _judge_assigned(text: str, match: re.Match[str], start: int, end: int, name_span: Range | None = None) -> int:
    """Return the end of the value if it is a secret, else 0."""
    groups = match.groupdict()
    name_span = name_span or (match.span("n") if "n" in groups else (0, 0))
    name = match.string[slice(*name_span)]
    if name and (INNOCENT_NAME.search(name) or _is_longer_word(match.string, *name_span)):
        return 0
    before_name = match.string[max(0, name_span[0] - _MAX_BLOCK_CHARS) : name_span[0]]
    if _READS_SETTING.search(match.string, max(0, start - _MAX_BLOCK_CHARS), start) or _BLOCK_BEFORE.search(
        before_name
    ):
        return 0
    quoted = groups.get("v") is not None
    value = text[start:end] if quoted else _trim_bare(text, start, end)
    strong = not name or _STRONG_NAME.match(name) is not None
    if (
        (quoted and not is_varied(value) and text[end + 1 : end + 2] in _ITEM_ENDS and _ITEM_BEFORE.search(before_name))
        or (not quoted and not is_varied(value) and _MEMBER_BEFORE.search(before_name))
        or (not quoted and text.startswith(" = ", start + len(value)))
        or (groups.get("q") == "`" and (" " in value or ':"' in value))
        or is_placeholder(value)
        or is_prose(value)
        or (not quoted and not is_varied(value) and is_message(text, start, end))
        or not (
            quoted
            or _is_bare_secret(value, strong=strong)
            or (_ELEMENT.search(text, max(0, start - 40), start) and is_varied(value))
        )
    ):
        return 0
    if not strong and (
        _SNAKE_CASE.fullmatch(value) or " " in value or name.startswith("tokens") or name.endswith(("tokens", "keys"))
    ):
        return 0
    is_word = not is_varied(value) and (is_status_word(value) or (not strong and len(value) < _MIN_TOKEN_CHARS))
    return 0 if is_word or len(value) < _MIN_QUOTED_CHARS else start + len(value)


def _trim_bare(text: str, start: int, end: int) -> str:
    """Return an unquoted value without a comment, the words of a command behind it, and the sign that ends it."""
    value = text[start:end].split(" #", 1)[0].rstrip()
    if " " in value and text[start - 1 : start] == "=" and not is_phrase_of_settings(text, start, value):
        value = value.split(" ", 1)[0]
    if value.endswith((",", ";")) and value[:-1].replace("_", "").isalpha():
        return ""  # a variable in a program
    if value.endswith((")", "]", "}")) and not any(sign in value for sign in "([{"):
        value = value.rstrip(")]}") if value.rstrip(")]}").replace("_", "").replace(".", "").isalpha() else value
    return value.rstrip(",;.").removesuffix('"').removesuffix("'")


def _is_bare_secret(value: str, *, strong: bool) -> bool:
    """Return whether an unquoted value is neither code nor too long or too short for a passphrase."""
    words = value.count(" ") + 1
    is_phrase = words == 1 or (strong and words <= MAX_WORDS and not _SIGNS_OF_CODE.search(value))
    return is_phrase and len(value) > _MIN_QUOTED_CHARS and not is_expression(value)


_ELEMENT = re.compile(r"<[\w:.-]{1,30}>\s{0,8}\Z")
"""The beginning of an element of XML, whose text is no code."""
_SNAKE_CASE = re.compile(r"[a-z]+(?:_[a-z]+)+")
_MIN_TOKEN_CHARS = 8
"""Fewest letters of a token or key that consists of letters of one case."""
_MIN_QUOTED_CHARS = 2


_FUNCTION_WORD = re.compile(
    r"(?:via|the|an?|is|are|was|on|in|at|with|without|instead|as|and|or|to|for|of|from|by|if|when|while|because|options?|flags?|arguments?|parameters?|switch|takes?|reads?|works|uses|used|can|cannot|will|should|must|may|does|has|both|either|neither)[.,;:]?"
)
"""What follows the name of an option in a sentence about it."""


def _judge_argument(text: str, match: re.Match[str], start: int, end: int) -> int:
    value = text[start:end]
    for name, has_case in (("lo", str.islower), ("up", str.isupper)):
        if match.groupdict().get(name) and not has_case(text[slice(*match.span(name))]):
            return 0
    if is_placeholder(value) or (value.startswith(("-", "$")) and not is_varied(value[1:].replace("_", ""))):
        return 0
    if names_kept_secret(text, start):
        return 0
    if _FUNCTION_WORD.fullmatch(value):
        return 0
    if re.fullmatch(r"[0-9.]{1,15}:[0-9:.]{1,20}(?:/\w{3})?", value) or (
        match.groupdict().get("b") is not None and re.match(r"[\w.]+\(", value)
    ):
        return 0
    return start + len(value.removesuffix("."))


def _judge_header(text: str, match: re.Match[str], start: int, end: int) -> int:
    value = text[start:end]
    groups = match.groupdict()
    if value.endswith((")", "]", "}")) and value.rstrip(")]}").replace("_", "").replace(".", "").isalpha():
        return 0  # a variable in a program
    if groups.get("host") and not text[slice(*match.span("host"))].isupper():
        return 0
    return 0 if is_placeholder(value) or is_status_word(value) or is_expression(value) else end


def _judge_statement(text: str, _match: re.Match[str], start: int, end: int) -> int:
    value = text[start:end]
    return 0 if is_placeholder(value) or is_prose(value) or is_status_word(value) else end


_NAMES_AND_NUMBER = re.compile(r"[A-Z][a-z]{2,}(?:\.[A-Z][a-z]{2,}){1,3}[0-9]{1,4}")
"""Capitalized words joined by dots, with a number: no attribute in a program."""


def _judge_sentence(text: str, _match: re.Match[str], start: int, end: int) -> int:
    value = text[start:end].partition("</")[0].rstrip(".,;:?)")
    is_target = text.startswith(" = ", end)  # of an assignment
    if is_target or text[start:end].endswith(":") or value.startswith("?"):  # a tag of a field, a message of the shell
        return 0
    if is_placeholder(value) or is_prose(value) or (is_expression(value) and not _NAMES_AND_NUMBER.fullmatch(value)):
        return 0
    pieces = re.split(r"[-_ /']", value)
    if all(piece == "" or is_status_word(piece) for piece in pieces):
        return 0
    return start + len(value)


def _judge_varied(text: str, match: re.Match[str], start: int, end: int) -> int:
    """A word in a sentence must look like a password."""
    if not any(character.isdigit() or character in "!#%&*+=?@^~$" for character in text[start:end]):
        return 0
    end = _judge_sentence(text, match, start, end)
    value = text[start:end]
    has_digit = any(map(str.isdigit, value))
    return end if end and (has_digit or any(c in "!#%&*+=?@^~$" for c in value)) and not value.isdigit() else 0


_VARIED = frozenset(
    {
        "sentence: with password ...",
        "use ... to log in",
        "mismatch of passwords",
        "name and password of a login attempt",
        "name / password alone on a line",
        "client with a name and a password",
        "name / password",
        "value on the next line",
        "sentence: the password is, and the next line",
        "user and password of MongoDB and Redis",
        "sentence: the password, it is ...",
        "message that ends with a password",
    }
)
_ANY = frozenset(
    {
        "words of a wallet (BIP-39)",
        "code that is announced",
        "number of three digits on a card",
        "app password of Google and Apple",
        "number: PIN, one-time code",
        "number before its name",
        "hash of a password",
    }
)
_Judge = Callable[[str, re.Match[str], int, int], int]


_SETTING_BEFORE = re.compile(
    r"^[ \t]{0,40}(?:[-+*][ \t])?(?:export[ \t]+|set[ \t]+|env[ \t]+|arg[ \t]+|\$env:|declare -x )?[\"']?[\w.\[\]/@:-]{0,60}\Z",
    re.MULTILINE,
)
_BRACE_BEFORE = re.compile(r"\{[\w.-]{0,40}\Z")
_FIELD_BEFORE = re.compile(r"^[\w.]{0,40}\Z", re.MULTILINE)
_BEFORE = {
    "line of settings": _SETTING_BEFORE,
    "field of a record of psql": _FIELD_BEFORE,
    "default of a shell variable": _BRACE_BEFORE,
}
"""What must stand before the name, on the same line."""
_GATES = {
    "subscript or key, value in quotes": ("\"'`\\)]}:=<|?!+~", "=:<!|?+~"),
    "declared with a type": (":[", ":&[*'w"),
    "array of characters": ("[", "["),
    "setter or constructor": ("(!?:.", ""),
    "name and value as arguments": ("\"'`\\]#)", ""),
    "text typed into a field": ("\"'])/.", ""),
    "default of a variable": ("\"'])|?/", "|?/w"),
    "default of a shell variable": (":", ""),
    "block scalar of YAML": ("\"':", ""),
    "value on the next line": ("*:", ""),
    "pair of name and value": ("\\\"',;", "\\\"'-w"),
    "compact pair of name and value": ("\\\"'", ""),
    "variable of HCL with a default": ('"', ""),
    "element of XML": (">\"'", "w"),
    "value in the next element": (":*<", ""),
    "attribute of XML": ("\"'", ""),
    "Lisp, Tcl, directives: in quotes": ("\"'", "\"'."),
    "line of settings": ("\"':=.", ":=."),
    "field of a record of psql": ("", "|"),
}
"""The characters that may follow the name, and those that may follow it behind blanks (``w``: a letter or digit)."""
_BLANKS = re.compile(r"\s{1,40}")


def find_assignments(index: TextIndex) -> Iterator[Range]:
    """Yield values behind a name with a word for a secret, in all forms that begin with the name."""
    text, lowered = index.text, index.lowered
    for name in _NAME.finditer(index):
        end = name.end()
        following = lowered[end : end + 1]
        behind = ""
        if following.isspace():
            blanks = _BLANKS.match(lowered, end)
            assert blanks is not None
            behind = lowered[blanks.end() : blanks.end() + 1]
            behind = "w" if behind.isalnum() or behind == "_" else behind
        for format_name, pattern, groups, judge in _TAILS.get((behind or following, bool(behind)), ()):
            match = pattern.match(lowered, end)
            if match is None:
                continue
            before = _BEFORE.get(format_name)
            if before is not None and not before.search(lowered, max(0, name.start() - 110), name.start()):
                continue
            for group in groups:
                start, stop = match.span(group)
                if start >= 0 and (stop := judge(text, match, start, stop, name.span())):
                    yield start, stop


def find_statements_about_passwords(index: TextIndex) -> Iterator[Range]:
    """Yield values in sentences and messages that begin with a word for a password."""
    text, lowered = index.text, index.lowered
    for name in _STATED_NAME.finditer(index):
        is_verb = name.group() == "pass"
        if lowered[name.start() - 1 : name.start()] == "/" == lowered[name.end() : name.end() + 1]:
            continue  # a directory
        for pattern, group, judge in _SENTENCE_TAILS:
            match = pattern.match(lowered, name.end())
            if match is not None:
                start, stop = match.span(group)
                if is_verb and not any(map(str.isdigit, text[start:stop])):
                    continue
                if stop := judge(text, match, start, stop):
                    yield start, stop


def _finder(format_: Format, judge: _Judge) -> Callable[[TextIndex], Iterator[Range]]:
    if format_.pattern.startswith(NAME):
        return find_assignments
    if format_.pattern.startswith(STATED):
        return find_statements_about_passwords
    pattern = format_.compile()
    groups = [pattern.groupindex[name] for name in ("v", "s", "b", "x") if name in pattern.groupindex]
    search = PrefilteredPattern(format_.pattern, re.MULTILINE, lowered=True)

    def find(index: TextIndex) -> Iterator[Range]:
        text = index.text
        for match in search.finditer(index):
            for group in groups or (0,):
                start, end = match.span(group)
                if start >= 0 and (end := judge(text, match, start, end)):
                    yield start, end

    return find


def _judge_of(format_: Format, default: _Judge) -> _Judge:
    if format_.name in _ANY:
        return lambda _text, _match, _start, end: end
    return _judge_varied if format_.name in _VARIED else default


def _tails() -> dict[tuple[str, bool], list[tuple[str, re.Pattern[str], tuple[int, ...], Any]]]:
    """Return the patterns that can match behind a name, by the character that follows it, and whether blanks precede."""
    tails: dict[tuple[str, bool], list[tuple[str, re.Pattern[str], tuple[int, ...], Any]]] = {}
    for each in ASSIGNMENTS:
        if each.pattern.startswith(NAME):
            pattern = re.compile(each.pattern.removeprefix(NAME), re.MULTILINE)
            groups = tuple(pattern.groupindex[name] for name in ("v", "b") if name in pattern.groupindex)
            for blanks, signs in enumerate(_GATES[each.name]):
                for sign in signs:
                    tails.setdefault((sign, bool(blanks)), []).append((each.name, pattern, groups, _judge_assigned))
    return tails


_TAILS = _tails()
_SENTENCE_TAILS = [
    (
        pattern := re.compile(each.pattern.removeprefix(STATED), re.MULTILINE),
        pattern.groupindex["b"],
        _judge_of(each, _judge_sentence),
    )
    for each in SENTENCES
    if each.pattern.startswith(STATED)
]


def all_formats() -> Iterator[Format]:
    """Yield the formats of this module with their functions."""
    from llmcli.fast_dataclass import replace

    for formats, judge in (
        (ASSIGNMENTS, _judge_assigned),
        (STATEMENTS, _judge_statement),
        (PROGRAMS, _judge_argument),
        (HEADERS, _judge_header),
        (SENTENCES, _judge_sentence),
    ):
        for each in formats:
            yield replace(each, find=_finder(each, _judge_of(each, judge)))
