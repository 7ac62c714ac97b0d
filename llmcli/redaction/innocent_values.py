"""Values that are no secrets although they stand where a secret may stand: variables, placeholders, paths, words."""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(
    r"(?i:\$\{[^}]*\}?|\$\([^)]*\)?|\$+(?:[a-z_]+|[A-Z_][A-Z0-9_]*)(?:[.\[(:-].*)?|%[a-z_]{2,40}%|%[-\w.]{0,4}[sdvqx]|\{\{.*|[:@/]?\{[\w .:!-]{0,40}\}?|<[^>]{0,80}>?"
    r"|\[[\w .-]{0,40}\]|\{?#.*|@[\w.-]{1,60}@|@@?[a-z_]+@?|:[a-z_]+|\?+|!(?:ref|sub|getatt|secret|env|vault)\b.*|&[a-z_]+(?:=.*)?|(.)\1{2,200}|[x*\u2022.#_-]{3,200}"
    r"|.{0,6}[*\u2022\u2026]{3,200}.{0,6}|.{1,40}\.{3}|\u2026|%%.{0,40}|\(.{0,40}\)"
    r"|(?:your|my|the|some|insert|enter|put|replace|add|use|an?)[ _-](?:.{0,30}[ _-])?(?:password|passwd|passphrase|pass|secret|token|key|pin|code|here|value)s?(?:[ _-]here)?!?"
    r"|.{0,30}[ _-](?:here|goes[ _-]here|placeholder)|(?:changeme|change[ _-]me|changeit|replace[ _-]?me|placeholder|redacted|example|sample|dummy|todo|tbd|fixme|n/?a|foo|bar|baz|foobar"
    r"|value|val|data|args?|params?|result|response|raw|input|line|name|s|p|pw|x|y|item|key|match|other|body|row|tmp|temp|self|this|req|res|hashed|get|post|tests?[_/.:][a-z_/.:]{0,60}|[\w/.-]{1,60}[_.](?:test|spec)s?(?:\.\w{1,5})?|password|passwd|passwort|pass|pwd|secret|token|api_?key|string|str|text|bytes|bool(?:ean)?|int(?:eger)?|number|object|null|nil|none|undefined|unset|nan|true|false|yes|no"
    r"|on|off|any|void|empty|default|hidden|masked|required|optional|disabled?|enabled?|include|import|session|tcp|udp|sctp|same-origin|omit|invalid|incorrect|unknown|missing|wrong|plain(?:text)?|encrypted|varchar|char|basic|bearer"
    r"|digest|oauth2?|jwt|saml|ldap|kerberos|prompt|ask|auto|file|env|environment|vault|keyring|stdin|inherit|internal|external|public|private|read[ _-]?only|read[ _-]?write|admin|user"
    r"|root|localhost|username|login|email|identity|visible|mandatory|strong|weak|medium|protected|expired|changed|updated|reset|ok|passed|failed|failure|success|error))(?:[!.?]*)"
)
_REFERENCE = re.compile(
    r"(?i:process\.|os\.|env[.(\[]|getenv|self\.|this\.|enc\[aes256_gcm,|(?:id|type|src|source|target|env)=[\w.$/-]{1,60}(?:,|\Z)|config[.\[]|settings[.\[]|secrets?[.\[]|vars?\.|local\.|module\.|data\.|params?[.\[]|args?[.\[]|opts?\.|options[.\[]"
    r"|request[.\[]|req\.|ctx\.|https?:|PII[_-]|arn:|vault:|ssm:|keyring:|op://|projects/|file:|ssh-(?:rsa|ed25519|dss)|ecdsa-|gs://|s3://)|-----begin|--?[a-z]|&&|\|\||[<>=]="
)
_CODE = re.compile(
    r"(?i:[(\[{&*]+[a-z_]+|new |await |async |lambda |function\b|await\b|!|@?[a-z_][\w:]*(?:(?:\.|->|::)[a-z_]\w*)*[(\[{])"
)
_ATTRIBUTE = re.compile(r"[A-Za-z_]\w*(?:(?:\.|->|::|\?\.)[A-Za-z_]\w*)+[;,]?")
_LETTERS_AS_DIGITS = re.compile(
    r"(?i:(?<![a-z])(?!v[0-9])[a-z]*[b-df-hj-np-tvwxz][0134][b-df-hj-np-tvwxz]{1,2}[a-z]{2,})"
)
"""A word in which a digit stands for a vowel ("m4rble"): part of a password, not of a program."""
_WORD_FOR_PASSWORD = re.compile(
    r"(?i:geheimnis|segreto|secreto|segredo|contrase[\u00f1n]a|contrasenya|mot de passe|motdepasse|senha|palavra-passe|wachtwoord|has\u0142o|heslo|l\u00f6senord|parola(?: d'ordine)?|adgangskode|adgangsord|salasana|passord|lykilor\u00f0|jelsz\u00f3|[\u015fs]ifre"
    r"|lozinka|gesl[oa]|parool|slapta\u017eodis|\u043f\u0430\u0440\u043e\u043b[\u044c\u0430\u0435\u044f\u0438]?|\u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2|\u5bc6\u7801|\u5bc6\u78bc|\u53e3\u4ee4|\u30d1\u30b9\u30ef\u30fc\u30c9|\ube44\ubc00\ubc88\ud638|\uc554\ud638"
    r"|m\u1eadt kh\u1ea9u|kata sandi|\u05e1\u05d9\u05e1\u05de\u05d4|\u0643\u0644\u0645\u0629 (?:\u0627\u0644)?\u0645\u0631\u0648\u0631)s?"
)
"""The word for a password in other languages: a label, not a password."""
_PATH = re.compile(
    r"(?:(?:~|\.{1,2})?/[\w.@-]+(?:/[\w.@ -]*)*|[A-Za-z]:\\.*|(?:[\w.-]+/)+[\w-]+\.[a-z]{2,5}|[\w-]+\.(?:txt|pem|key|crt|json|ya?ml|md|html?|png|jpe?g|py|js|ts|env|cfg|ini|toml|php|log))"
)
_ALGORITHM = re.compile(
    r"(?i:utf-?(?:8|16|32)(?:-?(?:sig|le|be))?|(?:us-)?ascii|latin-?1|iso-?8859-[0-9]{1,2}|cp125[0-9]|scram-sha-?[0-9]{1,3}(?:-plus)?|(?:hmac-?|pbkdf2-?|rsa-?|ecdsa-?)?(?:md5|sha-?[0-9]{1,3}(?:[-/][0-9]{3})?)(?:_password)?|[sy]?b?crypt|argon2(?:id?|d)?|pbkdf2|aes(?:-?[0-9]{3})?(?:-[a-z]{3})?|(?:caching_sha2|mysql_native)_password|[hrep]s(?:256|384|512)|ed25519|rsa|ntlm(?:v2)?|gssapi|chacha20(?:-poly1305)?)"
)
"""How a password is stored or sent."""
_FIELD = re.compile(
    r"(?i:remember(?:[_-]?me)?|confirm(?:ation)?|password[_-]?(?:confirm(?:ation)?|again|repeat)|submit|role|roles|phone|address|(?:first|last|given|full|user|display|nick)[_-]?name|locale|captcha|csrf|otp|scope|grant[_-]?type|e-?mail[_-]?address|created_at|updated_at|timestamp|description|title|status)"
)
"""A field of a form, in a list of fields."""
_SELECTOR = re.compile(r"[\w.# >-]{0,60}\[[\w-]{1,30}[~|^$*]?=[^\[\]]{1,60}\]")
"""An element of a page."""
_COMMAND = re.compile(
    r"`[^`]+ [^`]+`|\$\([^()]+\)|gpg .{1,80}|pass (?:show )?[\w.-]{1,30}/[\w./-]{1,60}|secret-tool .{1,80}"
)
_OPEN_END = re.compile(r"[^(\[{<]{1,60}?[)\]}>]{1,3}")
_TEST_NAME = re.compile(r"Test[A-Z][A-Za-z]+(?:[/_][A-Za-z_=.-]+)*")
_COUNTS = re.compile(r"(?i:[0-9]{1,6}(?:[ ,;|]{1,3}[a-z]{2,20} ?[:=] ?[0-9]{1,6}){1,8})")
"""Figures of a test run: "pass: 12 fail: 0"."""
_VARIABLE_PATH = re.compile(
    r"\$[a-z]\w{1,40}/[\w./@-]*|[\"']?\$\{?[A-Z][A-Z0-9_]{2,40}\}?(?:[/\\][\w./\\@$*{}-]*)?[\"']?"
)
_MORE_PARAMETERS = re.compile(r"(?:&[A-Za-z_][\w.-]{0,40}=[^&\s]*)+\Z")
_REMARK = re.compile(
    r"(?i:[(\[<](?:(?:sensitive|known|hidden|redacted|masked|secret|none|null|empty|unset|unchanged|encrypted|optional|required|default|not|no|omitted|removed|filtered|private|protected|unknown|stripped|scrubbed|elided|withheld|set|from|see|as|in|stored|same|if|leave|will)\b[^()\[\]<>]{0,40})[)\]>]?|\([0-9]{1,5}\)?|error=.*|[\^~>=<]{1,2} ?v?[0-9]{1,4}(?:\.[0-9x*]{1,6}){1,3}(?:-[\w.]{1,20})?)"
)
"""A remark in the place of a value, also without its end: "(sensitive value)", "[REDACTED]"."""
_CONSTANT = re.compile(
    r"(?:[AL]?GPL|BSD|MIT|MPL|Apache|CC|Unicode|OpenLDAP|CDDL|EPL|Artistic|OFL)-[\w.-]{1,30}\+?|(?:dword|qword|hex(?:\([0-9a-f]\))?):[0-9a-f,\\ ]{1,400}|0[xX][0-9A-Fa-f]{1,8}[uUlL]{0,3}|[a-z]{2,12}:~?/[\w./@-]{1,200}"
)
"""A number of a program; a file with its type ("hash:/etc/postfix/sasl_passwd")."""
_CMDLET = re.compile(r"(?:Get|Read|New|ConvertTo|ConvertFrom|Import|Invoke|Set|Export|Out|Select)-[A-Z][A-Za-z]{2,30}")
_POINTER = re.compile(
    r"(?i:siehe|see|voir|cf\.?|v[e\u00e9]ase|vedi|zie|veja|ask|frage?n?|demander|communiqu\u00e9e?|liegt|steht|bei|by|via|auf anfrage|on request|in the|im|bekannt|wie|gleich|same as|le m\u00eame|bereits|wird|kommt|folgt|provided|available|kept|stored)[ .].*"
)
"""What says where a password is rather than what it is: "siehe Umschlag im Tresor"."""
_NAME_OF_SECRET = re.compile(
    r"(?i:(?:[a-z0-9]{1,24}[-_./]){1,6}(?:password|passwd|passphrase|pwd|secret|token|api-?key|credential|creds|key|pass)s?(?:[-_./:](?:v[0-9]{1,3}|\*|id|awscurrent|awsprevious|name|ref|arn|file|prod|dev|test|staging|latest|current|ro|rw))?"
    r"|[a-z0-9-]{1,60}-token-[bcdfghjklmnpqrstvwxz2456789]{5}|[a-z./:@_-]{0,60}[-_./:]\*|\*[-_./:][a-z./:-]{1,60}|\.\*|\^.{0,60}[\[(\\.*+].{0,60}\$)"
)
"""The name under which a secret is kept ("prod/db-password"), and patterns of names."""
_SECRET_NAME = re.compile(
    r"(?i:(?:[a-z]{0,20}_)?pass|(?-i:[A-Z]{1,20}PASS)|[a-z_]{0,40}(?:password|passwd|passphrase|passwort|kennwort|pwd|secret|token|api_?key|credential)s?(?![0-9])[a-z_]{0,40})"
)
_STATUS = re.compile(
    r"(?i:[a-z]{3,20}(?:ed|able|ible|less|ful|ive|ous|ally|tion|ment)|[a-z\u00e0-\u00ff]{3,20}\u00e9e?s?|errat[oa]|about|due|going|[a-z-]{3,40}(?:sensitive|gevoelig|empfindlich)|both|either|neither|(?:miss|expir|chang|load|work|pend|fail|match|be|gett|us|ask|wait|contain|send|encrypt|hash|check|typ|us|go|mak|keep|gonna|com|sett|try)ing|(?:tempor|necess|arbitr|prim|second|mandat|compuls|obligat)(?:ary|ory)|only|likely|probably|currently|really|nearly|required|supposed|(?:was|is|are|has|not|no|must|can|cannot|should|will|may|for|of|to|in|on|at|and|or|but|if|when|that|which|with|from|by|via|instead|without|mindestens|h\u00f6chstens|maximal|minimum|m[i\u00ed]nimo|almeno|minst(?:ens)?|richiest[ao]|demand\u00e9e?s?|saisie?|enregistr\u00e9e?|envoy\u00e9e?|chiffr\u00e9e?|demasiado|cifrad[ao]|guardad[ao]|enviad[ao]|salvat[ao]|criptat[ao]|inviat[ao]|versleuteld|opgeslagen|bewaard|gevraagd|verstuurd|gespeichert|verschl\u00fcsselt|verlangt|abgefragt|open|closed|visible|posted|displayed|printed|affich\u00e9e?s?|expuest[ao]|into|onto|over|until|unless|because|while|after|before|through|directly|interactively|explicitly|argument|flag|options?|parameter|switch|using|used|uses|takes|reads|works"
    r"|too|very|still|already|never|always|only|also|now|then|here|there|your|my|his|her|their|our|its|the|a|an|this|these|those|does|did|do|be|been|as|so|than|policy|policies|field|fields|form|reset|manager"
    r"|managers|box|input|prompt|change|changes|length|strength|hash|hashes|hashing|file|files|store|rotation|again|below|above|above|twice|first|last|once|please|twice|dialog|entry|entries|protection|generator"
    r"|recovery|rules|rule|mismatch|match|matches|error|errors|check|checks|characters|sent|kept|lost|set|hidden|wrong|weak|strong|short|long|safe|secure|simple|complex|old|new|same|different|good|bad|easy|hard"
    r"|best\u00e4tigen|best\u00e4tigung|eingeben|wiederholen|\u00e4ndern|anzeigen|confirmer|confirmez|confirmar|confirmare|conferma|repetir|ripeti|r\u00e9p\u00e9ter|herhalen|bevestigen|doit|doivent|debe|deben|deve|devono|moet|moeten|au|moins|caract\u00e8res|caratteri|caracteres|zeichen|tekens|menos|almeno|pelo|contenir|contener|contenere|conter|bevatten|enthalten|saisir|saisissez|introduzca|inserisci|digite|voer|read|held|put|found|left|meant|made|done|said|bound|built|gone|seen|fine|ours|theirs|hers|what|who|how|why|where|unique|empty|blank|correct|incorrect|invalid|valid|unknown|forgotten|given|written|stolen|chosen|broken|known|shown|taken|expired|case|up|out|off|down|mine|yours|one|two|three|six|eight|ten|twelve|numeric"
    r"|plain|plaintext|clear|clean|private|public|secret|confidential|personal|shared|important|random|temporary|permanent|free|ready|late|today|tomorrow|falsch|richtig|ung\u00fcltig|g\u00fcltig|erforderlich"
    r"|abgelaufen|leer|geheim|sicher|unsicher|zu|nicht|ein|eine|der|die|das|sein|wird|wurde|muss|soll|kann|obligatoire|incorrecte?|invalide|vide|trop|pas|requis|expir\u00e9|incorrecta|obligatoria|requerida"
    r"|inv\u00e1lida|no|es|est|muy|non|\u00e8|errata|scaduta|obbligatoria|incorreta|obrigat\u00f3ria|niet|verplicht|onjuist|verlopen|te|om|een|het|dimenticata|stat[oa]|\xe9t\xe9|sido|worden|geworden|blir|ble|blev|oubli\u00e9e?|vergessen|vergeten|olvidada|olvid\u00e9|esquecida|esqueci|ge\u00e4ndert|gesperrt|modifi\u00e9|cambiada|alterada|gewijzigd))"
)

INNOCENT_NAME = re.compile(
    r"(?:[_-]?(?:length|timeout|lifetime|duration|interval|delay|len|min|max|policy|type|file(?:name)?|path|url|uri|link|field|label|placeholder|hint|count|limit|expir\w{0,8}|ttl|id|ids|name|ref|store|manager|regex|pattern|rules?"
    r"|strength|prompt|input|box|column|col|mode|method|provider|enabled|required|reset|changed|age|format|version|encoding|size|budget|usage|header|algorithm|alg|prefix|endpoint|generator|validator|encoder"
    r"|hashers?|validators|encoders|less|error|errors|message|msg|class|element|el|sock|backend|engine|s?_?parallelism|dir|keyref|attempts?|retries|history|complexity|charset|chars|help|title|text_?style|icon|visib\w{0,8}|stdin|prompter|used|set|protected|info|sha-?[0-9]{1,3}|md5|scope|audience|issuer|service|server|domain|realm|scheme|plugin|handler|callback|fn|func|function))\Z"
)
"""The end of a name that belongs to a setting about a secret, not to the secret itself (``password_length``)."""

_NAMED_SECRET = re.compile(
    r"(?<![\w-])(?:gcloud|docker|podman|buildah|buildx|kubectl|flyctl|fly|nomad|vault|op|berglas|chamber)[ \t][^\r\n|;&]{0,200}--(?:update-|set-)?secrets?[ =]\Z|secretsmanager[ \t:][^\r\n|;&]{0,120}\Z"
)
_MAX_COMMAND_CHARS = 260


def names_kept_secret(text: str, start: int) -> bool:
    """Return whether the option before ``start`` takes the name of a secret that is kept elsewhere (``gcloud secrets``)."""
    return _NAMED_SECRET.search(text, max(0, start - _MAX_COMMAND_CHARS), start) is not None


_INNOCENT = re.compile(
    "|".join(
        f"(?:{each.pattern})"
        for each in (
            _PLACEHOLDER,  # the first, since it refers to its own group
            _SECRET_NAME,
            _WORD_FOR_PASSWORD,
            _PATH,
            _VARIABLE_PATH,
            _REMARK,
            _NAME_OF_SECRET,
            _TEST_NAME,
            _ALGORITHM,
            _FIELD,
            _CONSTANT,
            _CMDLET,
            _SELECTOR,
            _COUNTS,
        )
    )
)


def is_placeholder(value: str) -> bool:
    """Return whether a value stands for another one: a variable, a placeholder, a type, a status, a path, an address."""
    if _COMMAND.fullmatch(value.strip("\"' ")):
        return True
    value = _MORE_PARAMETERS.sub("", value.strip().strip("\"'`").rstrip(":?,; "))
    return (
        not any(map(str.isalnum, value))
        or _INNOCENT.fullmatch(value) is not None
        or _REFERENCE.match(value) is not None
        or (_OPEN_END.fullmatch(value) is not None and _SECRET_NAME.fullmatch(value.rstrip(")]}>")) is not None)
    )


def is_expression(value: str) -> bool:
    """Return whether an unquoted value is code: a call, a subscript, an attribute, a name."""
    return _CODE.match(value) is not None or (
        _ATTRIBUTE.fullmatch(value) is not None and _LETTERS_AS_DIGITS.search(value) is None
    )


def is_status_word(value: str) -> bool:
    """Return whether a word says something about a password rather than being one ("expired", "required")."""
    return _STATUS.fullmatch(value) is not None


def is_prose(value: str) -> bool:
    """Return whether a value is a sentence or a label rather than a passphrase."""
    words = value.split()
    return len(words) > 1 and (
        sum(map(is_status_word, (word.strip(".,:;!?()\"'").lower() for word in words))) * 3 >= len(words)
        or mentions_secret(value)
        or value.endswith((":", "?", "."))
        or _POINTER.fullmatch(value) is not None
    )


def mentions_secret(value: str) -> bool:
    """Return whether several words have one for a password or a secret: a label or a sentence."""
    words = value.split()
    return len(words) > 1 and any(
        pattern.search(value) is not None and any(pattern.fullmatch(word.strip(".,:;!?")) for word in words)
        for pattern in (_SECRET_NAME, _WORD_FOR_PASSWORD)
    )


def is_varied(value: str) -> bool:
    """Return whether a word looks like a secret on its own: it has a digit, a sign, or capitals inside."""
    return any(not character.isalpha() for character in value.strip("-.'")) or (
        not value.islower() and not value.isupper() and not value[1:].islower()
    )
