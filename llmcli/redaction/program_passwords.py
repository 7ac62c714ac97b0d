"""Forms of passwords in command lines, and in files and transcripts of programs."""

from __future__ import annotations

from llmcli.redaction.format import Format

_DOC = "documentation of the program"
_OBSERVED = "observed in public repositories"
_ARGUMENT = r"(?:\"(?P<v>[^\"\r\n]{1,128})\"|'(?P<s>[^'\r\n]{1,128})'|(?P<b>[^\s\"'`|&;<>]{2,128}))"


def _program(names: str, option: str, value: str = "", *, reach: int = 160) -> str:
    """Return a pattern for the value of an option of a program; it must follow on the same line."""
    return rf"(?<![\w.-])(?:{names})(?:\.exe)?(?=\s)[^\r\n|;&]{{0,{reach}}}?[ \t]{option}{value or _ARGUMENT}"


PROGRAMS = (
    Format("user of Redis", r"(?:setuser|^user)[ \t]\S{1,60}[ \t][^\r\n]{0,60}?>(?P<b>\S{3,128})", "user bob on >\u27e6pelican\u27e7 ~*", "user bob on nopass", "Redis", ("user",)),
    Format("-p of MySQL", _program(r"mysql[\w-]{0,12}|mariadb[\w-]{0,12}|mycli", r"(?P<lo>-p)"), "mysqldump -uroot -p\u27e6tiger\u27e7 db", "mysql -u root -p shop", "MySQL", ("mysql", "mariadb", "mycli")),
    Format(
        "assignments in an argument", r"(?:pass(?:word|wd|phrase|wort)?|pwd|pw|secret|psk|pre-shared-key)[\w-]{0,12}=(?P<b>[^\s\"'`<>,;&)(\]}{]{3,128})(?=[\s\"';&]|$|(?<=[0-9!#%@*])[,)\]}])",
        "helm install x --set auth.password=\u27e6oyster\u27e7",
        "f(password=value)",
        _DOC,
        ("pass", "pwd", "pw=", "secret", "psk", "pre-shared-key"),
    ),
    Format(
        "word behind a word of an option",
        r"(?:nmcli|rclone|iwconfig|wpa_passphrase|netsh|pdftk|wpa_cli|iwctl|snmpusm|mdbtools|qpdf|ipmitool|cryptsetup|chap|iscsiadm|wifi)\b[^\r\n|;&]{0,160}?(?:[ \t](?:password|pass|passphrase|psk|input_pw|user_pw|owner_pw|wifi-sec\.psk|802-11-wireless-security\.psk)[ \t=]|keymaterial=|[ \t]key[ \t](?:s:)?)"
        + _ARGUMENT,
        "nmcli dev wifi connect Home password \u27e6oyster\u27e7",
        "nmcli dev wifi list",
        _DOC,
        ("nmcli", "rclone", "iwconfig", "netsh", "pdftk", "wpa_cli", "iwctl", "qpdf"),
    ),
    Format(
        "wpa_passphrase",
        r"wpa_passphrase[ \t]+\"?[^\s\"]{1,40}\"?[ \t]+" + _ARGUMENT,
        "wpa_passphrase home \u27e6oysterbay\u27e7",
        "wpa_passphrase home",
        _DOC,
        ("wpa_passphrase",),
    ),
    Format(
        "ssh-keygen",
        r"ssh-keygen\b[^\r\n|;&]{0,160}?[ \t]-[np][ \t]+(?!-)" + _ARGUMENT + r"(?:[^\r\n|;&]{0,80}?[ \t]-[np][ \t]+(?P<x>[^\s\"'-][^\s\"']{1,64}))?",
        'ssh-keygen -t rsa -N "\u27e6oyster\u27e7" -f k',
        'ssh-keygen -t rsa -N ""',
        _DOC,
        ("ssh-keygen",),
    ),
    Format(
        "pass: of OpenSSL",
        r"(?<![\w-])-?pass(?:in|out)?(?:[ \t]|=)(?:\"pass:(?P<v>[^\"\r\n]{2,128})\"|'pass:(?P<s>[^'\r\n]{2,128})'|[\"']?pass:(?P<b>[^\s\"']{2,128}))",
        "-passout 'pass:\u27e6oyster\u27e7'",
        "-passout env:PW",
        "OpenSSL",
        ("pass:",),
    ),
    Format(
        "word for a password in quotes with its value",
        r"[\"'](?:pwd|pass|password|passwd|pw):(?P<b>[^\s\"']{3,64})[\"']",
        'runas "pwd:\u27e6oyster\u27e7"',
        '"password:"',
        _OBSERVED,
        ("pwd:", "pass:", "password:", "passwd:", "pw:"),
    ),
    Format(
        "name and password of a login attempt",
        r"(?:attempt|login|auth\w{0,12}|credentials?|user)[^\r\n\[\]/]{0,24}\[(?:[^\[\]/\s]{1,64})/(?P<b>[^\s\[\]/]{3,64})\]",
        "login attempt [root/\u27e6oyster42\u27e7] succeeded",
        "login attempt [root] failed",
        "Cowrie, honeypots",
        ("attempt", "login", "auth", "user"),
    ),
    Format("sudo -S from echo", r"(?:echo|printf|print|write-output)[ \t]+(?:-\w{1,3}[ \t]+)?(?:'%s\\n'[ \t]+|\"%s\\n\"[ \t]+)?" + _ARGUMENT + r"[ \t]*\|[ \t]*(?:sudo[ \t]+(?:-\w+[ \t]+)*-\w{0,3}s\b|su\b|kinit\b|cryptsetup\b|gpg\b|docker login|passwd\b|sshpass\b|smbpasswd\b|podman login|helm registry login|vault login|gh auth login|openssl passwd|mkpasswd|base64(?=[^\n]{0,40}(?:secret|pass))|pass insert|secret-tool)",
           "echo \u27e6tiger\u27e7 | sudo -S apt update", "echo hello | sudo tee /etc/motd", _DOC, ("echo", "printf", "print")),
    Format("sudo -S from a here-string", r"(?:sudo[^\r\n|]{0,80}-s|kinit|gpg|openssl|vncpasswd|passwd|docker login|cryptsetup)\b[^\r\n|<]{0,80}<<<[ \t]{0,3}" + _ARGUMENT, 'sudo -S ls <<< "\u27e6tiger\u27e7"', "cat <<< tiger", _DOC, ("<<<",)),
    Format("chpasswd", r"(?:echo|printf)[ \t]+(?:-\w{1,3}[ \t]+)?[\"']?[\w.$-]{1,40}:(?P<b>[^\"'\r\n|]{2,128}?)(?:\\n)?[\"']?[ \t]*\|[ \t]*(?:sudo[ \t]+)?chpasswd", 'echo "bob:\u27e6tiger\u27e7" | chpasswd', "chpasswd < users", _DOC, ("chpasswd",)),
    Format("passwd from echo", r"(?:echo|printf)[ \t]+(?:-\w{1,3}[ \t]+)?[\"'](?P<v>[^\"'\r\n|]{2,128}?)\\n[^\r\n|]{0,128}\|[ \t]*(?:sudo[ \t]+)?(?:passwd|smbpasswd)", 'echo -e "\u27e6tiger\u27e7\\ntiger" | passwd bob', "passwd bob", _DOC, ("passwd",)),
    Format("keytool, jarsigner", r"(?<![\w-])-(?:src|dest)?(?:store|key)pass(?::\w+)?[ \t]+" + _ARGUMENT, "keytool -storepass \u27e6tiger\u27e7", "keytool -storepass:env PW", _DOC, ("storepass", "keypass")),
    Format("openssl", _program("openssl", r"(?:-k[ \t]|(?:-pass(?:in|out|word)?[ =](?:pass:)|-passwd)[ \t]?)"), "openssl enc -k \u27e6tiger\u27e7 -in a", "openssl x509 -in a.pem", _DOC, ("openssl",)),
    Format("user%password of Samba", r"(?:-u|--user)[ =]?[\"']?[\w.\\@/+-]{1,64}%(?P<b>[^\s\"'|&;<>]{2,128})", "smbclient //h/s -U bob%\u27e6tiger\u27e7", "smbclient //h/s -U bob", _DOC, ("%",)),
    Format("user,password of lftp", _program("lftp", r"(?:-u|--user)[ =]?[\w.@+-]{1,64},", r"(?P<b>[^\s\"']{2,128})"), "lftp -u bob,\u27e6tiger\u27e7 h", "lftp -u bob h", _DOC, ("lftp",)),
    Format("user:password of curl, wget, HTTPie", r"(?<![\w.-])(?:curl|https?|http|xh|ab|siege|wrk|hey|aria2c|ab|youtube-dl|httpie|curlie|svn|restic|rclone|elasticdump)(?=\s)[^\r\n|;]{0,200}?[ \t](?:-u|--user|-a|--auth|--proxy-user|--basic|-x)[ =]?[\"']?(?:--)?[\w.@\\+-]{1,64}:(?P<b>(?![/0-9]{1,5}[\s/])[^\s\"']{2,128})", "curl -u bob:\u27e6p@ss:w/rd\u27e7 https://h", "curl -u bob https://h", _DOC, ("-u", "--user", "-a ", "--auth")),
    Format("net use, net user", r"\bnet(?:\.exe)?[ \t]+(?:user[ \t]+[\w.\\-]{1,40}[ \t]+(?P<b>[^\s/*]\S{1,64})|use[ \t][^\r\n]{0,120}?/u(?:ser)?:\S{1,64}[ \t]+(?P<v>[^\s/*]\S{1,64})|use[ \t]+(?:\S{1,3}[ \t]+)?\\\\\S{1,80}[ \t]+(?P<s>[^\s/*]\S{1,64})[ \t]+/u)", r"net use x: \\h\s /user:bob " + "\u27e6tiger\u27e7", "net use", _DOC, ("net ", "net.exe")),
    Format("option /p: of Windows", r"(?<=[ \t])/(?:p|pass|password|rp):" + _ARGUMENT, "xfreerdp /u:bob /p:\u27e6tiger\u27e7", "msbuild /p:Configuration=Release", _DOC, ("xfreerdp", "freerdp", "wfreerdp", "schtasks", "cmdkey", "psexec", "mstsc", "runas", "sqlcmd", "/pass:", "/password:")),
    Format("option /p of Windows", _program(r"(?:schtasks|psexec|wmic|taskkill|tasklist|systeminfo|cmdkey|netdom|sc|appcmd|certutil|signtool|mapadmin)", r"[/-](?:p|rp|passwordd|pass)[ :]"), "schtasks /create /u bob /p \u27e6tiger\u27e7", "schtasks /query", _DOC, ("schtasks", "psexec", "wmic", "taskkill", "systeminfo", "netdom", "certutil", "signtool")),
    Format("aws configure set", r"aws[ \t]+configure[ \t]+set[ \t]+\S{0,60}(?:secret|token|key)\S{0,20}[ \t]+" + _ARGUMENT, "aws configure set aws_secret_access_key \u27e6abcd1234\u27e7", "aws configure set region eu-west-1", _DOC, ("configure set",)),
    Format("npm config set, .npmrc", r"_(?:authtoken|auth|password)(?:[ \t]+|[ \t]{0,2}=[ \t]{0,2})[\"']?(?P<b>[^\s\"'$<>{}]{4,400})", "npm config set //r.io/:_authToken \u27e6abcd1234\u27e7", "//r.io/:_authToken=${NPM_TOKEN}", _DOC, ("_auth", "_password")),
    Format("long option", r"(?<![\w-])--?(?:[a-z0-9]+-){0,3}(?:password|passwd|passphrase|pass|pwd|pw|secret|token|api-?key|secret-?key|access-?key|client-?secret|psk|pin|passcode|adminpass(?:word)?|dbpass(?:word)?|userpass|from-literal[ =][\w.-]{0,40}(?:pass(?:word)?|pwd|secret|token|key))(?:[ \t]{1,2}|=|:)" + _ARGUMENT, "wget --user=bob --password=\u27e6tiger\u27e7 h", "docker login --password-stdin", _DOC, ("-pass", "-pwd", "-pw", "-secret", "-token", "-api", "-psk", "-pin", "-access", "-client", "-admin", "-db", "-from-literal", "pass", "token", "secret")),
    Format("-p of programs", _program(r"sshpass|mongo\w{0,8}|7z[ar]?|rar|unrar|az login|cf login|oc login|docker login|podman login|skopeo login|helm registry login|useradd|usermod|htdigest|rdesktop|mycli|mssql-cli|ldappasswd|adb|gpgpass|nxlog|mutt|nomachine|cassandra|cqlsh|clickhouse-client|influx|cypher-shell|nmcli|rcon\w{0,4}|kafka\w{0,10}|tmsh|sendemail|swaks|crackmapexec|evil-winrm|nxc|hydra|medusa|rpcclient|wpscan|impacket-\w{1,20}|artisan|wp", r"(?P<lo>-p|-xp|-ap|-hp)[ =]?"), "az login -u bob -p \u27e6tiger\u27e7", "mkdir -p some/dir", _DOC, ("-p", "-ap", "-xp", "-hp")),
    Format("-P of programs", _program(r"zip|unzip|sqlcmd|bcp|isql|ipmitool|mosquitto_\w{3}|fetchmail|osql|ncftp\w{0,4}|smbmap|zipcloak|funzip|pdftk", r"(?P<up>-p)[ =]?"), "zip -P \u27e6tiger\u27e7 x.zip f", "zip -r x.zip f", _DOC, ("zip", "sqlcmd", "bcp", "isql", "ipmitool", "mosquitto", "osql", "ncftp", "smbmap")),
    Format("-a of redis-cli", _program("redis-cli|redis-benchmark|valkey-cli|keydb-cli|memtier_benchmark|rdb", r"(?P<lo>-a)[ =]?"), "redis-cli -a \u27e6tiger\u27e7 ping", "redis-cli -h h ping", _DOC, ("-cli", "benchmark")),
    Format("-w of OpenLDAP and others", _program(r"ldap(?:search|modify|add|delete|passwd|whoami|compare|modrdn)|dsconf|ipa\w{0,20}|pktutil|iscsiadm|kpasswd|kadmin\w{0,6}|ktutil|curlftpfs|openconnect|realm|adcli|cqlsh|onesync|slappasswd|dbisql", r"(?P<lo>-w|-pw)[ =]?"), "ldapsearch -D cn=a -w \u27e6tiger\u27e7 -b dc=x", "grep -w error log.txt", _DOC, ("ldap", "dsconf", "kadmin", "kpasswd", "adcli", "slappasswd")),
    Format("-s of slappasswd, -pw of PuTTY", _program("slappasswd|plink|pscp|psftp|putty|winscp|kitty|ldappasswd", r"(?:-s|-pw)[ =]"), "plink -pw \u27e6tiger\u27e7 bob@h", "plink -ssh bob@h", _DOC, ("slappasswd", "plink", "pscp", "psftp", "putty", "winscp", "ldappasswd")),
    Format("htpasswd", r"htpasswd[ \t]+(?:-\w{1,5}[ \t]+){0,5}-\w{0,5}b\w{0,5}[ \t]+(?:-\w{1,5}[ \t]+){0,4}(?:\S{1,80}[ \t]+)?[\w.@-]{1,60}[ \t]+" + _ARGUMENT, "htpasswd -b f bob \u27e6tiger\u27e7", "htpasswd -c f bob", _DOC, ("htpasswd",)),
    Format("SNMP version 3", r"snmp\w{1,12}(?=\s)[^\r\n|;&]{0,160}?[ \t]-[ax][ \t]{1,2}(?!(?:md5|sha\S{0,4}|aes\S{0,4}|des)\b)(?P<b>[^\s\"'-]\S{3,64})(?:[^\r\n|;&]{0,80}?[ \t]-x[ \t]{1,2}(?P<x>[^\s\"'-]\S{3,64}))?", "snmpwalk -v3 -u bob -A \u27e6tiger123\u27e7 h", "snmpwalk -v2c h", _DOC, ("snmp",)),
    Format("commands that add a user", r"(?:rabbitmqctl[ \t]+(?:add_user|change_password|authenticate_user)|kadmin\S{0,6}[^\r\n]{0,40}addprinc -pw|occ user:add|mysqladmin[^\r\n]{0,80}[ \t]password|vault login|railway login|heroku auth:token|gh auth login --with-token|pass insert|security add-generic-password[^\r\n]{0,100}-w|security unlock-keychain -p|rclone obscure|cmdkey[^\r\n]{0,80}/pass:|mosquitto_passwd -b \S+|saslpasswd2[^\r\n]{0,60}-p|emqx_ctl[^\r\n]{0,40}|mc alias set \S+ \S+ \S+|mc config host add \S+ \S+ \S+)[ \t]+(?:(?<=_user )[\w.@-]{1,40}[ \t]+|(?<=_password )[\w.@-]{1,40}[ \t]+|(?<=-b \S)\S{1,40}[ \t]+)?".replace(r"|(?<=-b \S)\S{1,40}[ \t]+", "") + _ARGUMENT, "rabbitmqctl add_user bob \u27e6tiger\u27e7", "rabbitmqctl list_users", _DOC, ("rabbitmqctl", "kadmin", "mysqladmin", "vault login", "auth:token", "security ", "saslpasswd", "mc alias", "mc config", "rclone obscure")),
    Format("Oracle: name/password@database", r"(?:(?:sqlplus|expdp|impdp|exp|imp|rman|sqlldr|tkprof|connect|conn|sqlcl|sql)[ \t](?:-\w{1,8}[ \t]){0,3}(?:userid=|target )?[\"']?|thin:|oci:|userid=[\"']?)[\w$#]{1,30}/(?P<b>[^\s@/\"']{2,64})(?=@|[\s\"']|$)", "sqlplus scott/\u27e6tiger\u27e7@//db:1521/XE", "sqlplus / as sysdba", "Oracle", ("sqlplus", "expdp", "impdp", "exp ", "imp ", "rman", "sqlldr", "conn", "thin:", "oci:", "userid", "sql ")),
    Format(".pgpass", r"^[\w.*-]{1,100}:(?:[0-9]{1,5}|\*):[\w.*-]{1,64}:[\w.*@-]{1,64}:(?P<b>(?:\\.|[^\s:\\]){3,128})[ \t]{0,4}$", "db.example.com:5432:shop:bob:\u27e6sparrow\u27e7", "a:1:b:c:", "PostgreSQL", (":",)),
    Format("map of logins of a mail server", r"^\[[\w.-]{3,80}\](?::[0-9]{1,5})?[ \t]{1,40}[^\s:]{1,80}:(?P<b>\S{4,128})[ \t]{0,4}$", "[smtp.example.net]:587 bob:\u27e6oyster77\u27e7", "[smtp.example.net]:587", "Postfix", ("]",)),
    Format("name and password in one setting", r"^[ \t]{0,8}(?:proxy-)?user[ \t]{0,4}=[ \t]{0,4}\"?[\w.@-]{1,64}:(?P<b>[^\s\"]{4,128})\"?[ \t]{0,4}$", "user = bob:\u27e6tigerlily\u27e7", "user = bob", "coturn, curl", ("user",)),
    Format("code of an alarm", r"alarm_control_panel:[^\x00]{0,240}?\bcode:[ \t]{1,4}[\"']?(?P<b>[0-9]{4,10})(?![\w-])", 'alarm_control_panel:\n  code: "\u27e6749213\u27e7"', "alarm_control_panel:\n  code: !secret alarm", "Home Assistant", ("alarm_control_panel",)),
    Format("login of a session", r"(?:331[ -]|\+ok|(?<![a-z])user[ \t])[^\r\n]{0,120}\r?\n[^\r\n]{0,40}(?<![a-z])(?P<up>pass)[ \t]{1,4}(?P<b>\S{3,128})", "USER bob\n331 Please specify\nPASS \u27e6tigerlily\u27e7", "331 Please specify\npass it on", "RFC 959, RFC 1939", ("pass",)),
    Format("login at services of IRC", r"(?:nickserv|chanserv)[ \t:]{1,3}(?:identify|register)[ \t](?P<b>\S{4,64})", "/msg NickServ IDENTIFY \u27e6tigerlily\u27e7", "NickServ: identify", "Atheme, Anope", ("nickserv", "chanserv")),
    Format("code of a wireless network", r"wifi:(?:[a-z]{1,2}:[^;\r\n]{0,64};){0,4}p:(?P<b>(?:\\.|[^;\\\r\n]){4,63});", "WIFI:S:Home;T:WPA;P:\u27e6tigerlily\u27e7;;", "WIFI:S:Guests;T:nopass;;", "ZXing", ("wifi:",)),
    Format("label of a router", r"(?:netzwerkschl\u00fcssel|network key|security key|wlan-key|wpa2?[ -]key|cl\u00e9 (?:wpa|wi-?fi|r\u00e9seau))[^\r\n\d]{0,8}(?:\(wpa[0-9]?[^()\r\n]{0,12}\))?[ \t:]{0,4}\s{1,8}(?P<b>[0-9]{4}(?: ?[0-9]{4}){1,7})(?![\w-])", "WLAN-Netzwerkschl\u00fcssel (WPA2)\n\u27e65512 0934 7781 2406 3398\u27e7", "WPA key 12", "labels of routers", ("netzwerkschl\u00fcssel", "network key", "security key", "wlan-key", "wpa", "cl\u00e9 ")),
    Format("command of Kickstart", r"^rootpw[ \t]{1,4}(?:--\w{4,12}[ \t]{1,4}){1,3}(?P<b>[^\s-]\S{2,128})", "rootpw --plaintext \u27e6tigerlily\u27e7", "rootpw --lock", "Anaconda", ("rootpw",)),
    Format("list of passwords of cloud-init", r"chpasswd:[^\r\n]{0,20}\r?\n(?:[ \t]{1,8}expire:[^\r\n]{0,20}\r?\n)?[ \t]{1,8}list:[ \t]{0,4}\|?[-+]?\r?\n[ \t]{2,12}\w{1,32}:(?P<b>\S{3,128})(?:\r?\n[ \t]{2,12}\w{1,32}:(?P<x>\S{3,128}))?", "chpasswd:\n  list: |\n    root:\u27e6tigerlily\u27e7", "chpasswd:\n  expire: false", _DOC, ("chpasswd",)),
    Format("login of a page of HAProxy", r"^[ \t]{0,8}stats auth[ \t]{1,4}[^\s:]{1,64}:(?P<b>\S{3,128})", "stats auth admin:\u27e6tigerlily\u27e7", "stats auth $USER", _DOC, ("stats auth",)),
    Format("secret of PPP", r"^(?:\"[^\"\r\n]{1,64}\"|[\w.@-]{1,64})[ \t]{1,20}\*[ \t]{1,20}(?:\"(?P<v>[^\"\r\n]{4,64})\"|(?P<b>[^\s\"*]{4,64})[ \t]{1,20}(?:\*|[0-9]{1,3}(?:\.[0-9]{1,3}){3})[ \t]{0,4}$)", "bob * \u27e6tigerlily\u27e7 192.0.2.7", "width * height", "pppd(8)", (" *", "\t*")),
    Format("option of UCI", r"^[ \t]{0,8}option[ \t]{1,4}(?:key[1-4]?|password|sae_password|auth_secret|preshared_key)[ \t]{1,4}(?P<q>['\"])(?P<v>[^'\"\r\n]{4,128})(?P=q)", "option key '\u27e6tigerlily\u27e7'", "option key_retries '1'", "OpenWrt", ("option",)),
    Format("command of Junos", r"^[ \t]{0,8}set[ \t][^\r\n]{3,120}?[ \t](?:pre-shared-key(?: ascii-text)?|authentication-key|simple-password|plain-text-password|secret)[ \t]{1,4}\"?(?P<b>[^\s\"]{3,128})", 'set security ike policy p pre-shared-key ascii-text "\u27e6tigerlily\u27e7"', "set system authentication-key", _DOC, ("pre-shared-key", "authentication-key", "simple-password", "plain-text-password", "secret")),
    Format("command of Tasmota", r"(?<![\w.-])(?:mqttpassword|webpassword|password[12])[ \t](?P<b>[^\s;]{3,64})(?=;|[ \t]{0,4}$)", "Backlog MqttUser bob; MqttPassword \u27e6tigerlily\u27e7", "MqttPassword 0;", _DOC, ("mqttpassword", "webpassword", "password1", "password2")),
    Format("field of a form in a request", r"name=\"[\w.-]{0,30}(?:pass(?:word|wd|phrase)?|pwd|secret|token)[\w.-]{0,20}\"\r?\n(?:[\w-]{4,30}:[^\r\n]{0,80}\r?\n){0,2}\r?\n(?P<b>[^\r\n]{2,128})\r?\n-{2}", 'form-data; name="new_password"\n\n\u27e6tigerlily\u27e7\n----b--', 'form-data; name="password"\n\n\n----b--', "RFC 7578", ("form-data",)),
    Format("password in the state of Terraform", r"\"min_special\":[^}]{0,240}?\"result\":\s{0,2}\"(?P<v>[^\"\r\n]{8,128})\"", '"min_special": 0,\n"result": "\u27e6tigerlily\u27e7"', '"min_special": 0,\n"result": null', "Terraform random_password", ("min_special",)),
    Format("line that a terminal reads in a trace", r"read\([0-9]{1,3}</dev/(?:tty|pts/[0-9]{1,3})>, \"(?P<v>[^\"\\\r\n]{4,64})\\n\"", 'read(3</dev/tty>, "\u27e6tigerlily\u27e7\\n", 511) = 11', 'read(3</etc/hosts>, "a", 1) = 1', "strace", ("</dev/",)),
    Format("bytes of a key in decimal", r"(?:network|zigbee|encryption|aes|secret|private|master)_?key\w{0,10}[\"']?\s{0,2}[=:]\s{0,2}\[\s{0,8}(?P<b>[0-9]{1,3}(?:,\s{0,12}[0-9]{1,3}){7,63})\s{0,8}\]", "network_key: [\u27e617, 203, 5, 88, 141, 9, 230, 76\u27e7]", "network_key: GENERATE", "Zigbee2MQTT", ("_key", "networkkey", "aeskey", "secretkey")),
    Format("hash of a password", r"\$(?:apr1|[1256y]|2[abxy]|5|6|7|argon2(?:id|i|d)|scrypt|pbkdf2[\w-]{0,12}|bcrypt(?:-sha256)?)\$[\w./+=,$-]{12,300}|\{(?:ssha|sha|smd5|crypt)(?:[0-9]{3})?\}[a-z0-9+/=$.]{16,200}", "bob:\u27e6$apr1$x1y2z3$abcdefghijklmnopqrstu1\u27e7", "$1$", "crypt(3), RFC 2307", ("$", "}")),
    Format("entry of .netrc", r"\b(?:login|user)[ \t\n]+\S{1,128}\s{1,8}(?:password|passwd)[ \t\n]+(?!(?:change|reset|expir)|(?:age|last|policy|that|which|and|or|for|is|are|in|to|of|from|with|as|if|on|can|must|may|will|should|when)\b)(?P<b>\S{1,128})", "machine h login bob password \u27e6tiger\u27e7", "login and password", "inetutils", ("login", "user")),
    Format("user:password before a host", r"(?<![\w/:.@-])[\w.-]{1,32}:(?P<b>[^\s:@/\"'()<>,]{3,64})@(?:tcp\(|unix\(|\()", "bob:\u27e6tiger\u27e7@tcp(h:3306)/db", "bob@tcp(h:3306)/db", "go-sql-driver", ("@tcp(", "@unix(", "@(")),
    Format("address with a name and a password", r"[a-z][\w+.-]{1,20}://[^\s/:@\"'<>\\]{0,128}:(?P<b>(?![0-9]{1,5}(?:[/?#]|$))[^\s\"'<>\\]{1,128})@(?=[\w\[$\{(])", "postgresql://bob:\u27e6ti/ger@1\u27e7@h/db", "https://h:8080/a@2x.png", "RFC 3986", ("://",)),
)  # fmt: skip
