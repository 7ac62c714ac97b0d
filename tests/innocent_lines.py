r"""Lines in which nothing is private: logs, programs, settings, DNS, public keys, checksums, identifiers, sentences.

Random values in them were drawn for the list. ``\n`` stands for a line break.
"""

from __future__ import annotations

LOGS_AND_SETTINGS = r"""
2026-03-14T09:26:53.589Z INFO  [http-nio-8080-exec-7] c.a.web.AccessFilter - GET /api/v2/orders/48213 200 37ms traceId=2e5ee72a9f9d2b9ca36a874f9d34ff02 spanId=f74eecbaaf856ce0
ts=2026-03-14T09:26:53Z level=warn msg="slow query" trace_id=4445f621808a15e7b6d69e8120ad953c span_id=4d79e98be3a97b3c duration=1.8213s
traceparent: 00-8dd12d02687c314dfec065796573ca8e-eb363f09b8fcb4da-01
X-Request-Id: 27cd95a0-26af-41d1-a71d-ba495552da89
x-amzn-RequestId: afa2d07c-1121-414d-8fde-5639132a29cf
X-Amzn-Trace-Id: Root=1-67891233-8a4a7255bf567b4f1c2432aa;Parent=6aeb84ace22f065f;Sampled=1
ETag: "33b38e7f222a846972497439c4f03071"
ETag: W/"a38518addc601f88c1de354af0961e6d-gzip"
Last-Modified: Tue, 10 Nov 2026 08:12:31 GMT
Content-MD5: O8H6HEziLWLZScqL7U43rA==
Digest: SHA-256=QWBypL4935EkL9HYb0ykIhenf2DxhUB5mj+NLKcdRFk=
Content-Security-Policy: script-src 'self' 'sha256-+fVMM3jzXUcNYDjJxag+eDwUD3mb7srxEkXJM4Kjg20=' 'nonce-8vNXVG6rMDiNBvjymO8kFA=='
<script src="https://cdn.example.com/lib.min.js" integrity="sha384-4FxuGXROD9uLFFO3VZPHRjPXu0TbDOttSBvDWrPr82FOvXuapS2rzOTh+XW9KSVH" crossorigin="anonymous"></script>
WWW-Authenticate: Digest realm="users", qop="auth", nonce="ed5a36c61efa2b43e8750274351fd326", opaque="026d1a4681a68e77570517c9e76c0000"
WWW-Authenticate: Bearer realm="api", error="invalid_token", error_description="The access token expired"
Strict-Transport-Security: max-age=63072000; includeSubDomains; preload
Sec-WebSocket-Accept: omZAZXY2BTKCcVJ3YnrNTuve+y4=
Sec-WebSocket-Key: 641Gr1qEgWDogjGJ2lYtsg==
commit db4699e326a3a6ca315f56bba7eba71e9630501c (HEAD -> main, origin/main)
Merge: a684cedd65751411f1149b8b882d9f521b2b0129 7050fd896f67e58d7a2f5312ebeb3bb80ccf3bed
index 4f9c2a1..1827cce6aee6f6a0959c3e733758b9914680cfcd 100644
[main 7c1e9ab] Ask for the password again after three failures
Submodule path 'vendor/zlib': checked out '859b7f3f7383a73aae0511ab8e76ab677b350154'
8aedd316a2c707ce8834eb23c99482e0d9ac1ff8 refs/tags/v2.41.0
ba66e86cb1a958a3f55ae5730bf5b72d7749d287	refs/heads/feature/password-reset
git clone git@gitlab.example.com:platform/password-service.git
git remote add upstream ssh://git@codeberg.org/forgejo/forgejo.git
git push deploy@web1.example.net:/srv/git/site.git main
scp build/site.tar.gz deploy@web1.kestrel-hosting.eu:/srv/www/
rsync -avz --delete public/ www-data@static.kestrel-hosting.eu:/var/www/html/
ssh -i ~/.ssh/id_ed25519 -L 5433:db.internal:5432 -N tunnel@bastion.kestrel-hosting.eu
ssh-copy-id -i ~/.ssh/id_ed25519.pub admin@10.0.0.12
sftp -P 2022 reports@files.kestrel-hosting.eu
ProxyJump ops@bastion.kestrel-hosting.eu
mosh --ssh="ssh -p 2222" anna@server.kestrel-hosting.eu
borg create backup@nas.lan:/volume1/borg::monday /home
2748bce6277f0fde8f6ef43151e8be697f831f50c09bf1106a000761d5cee19c  openssl-3.4.0.tar.gz
MD5 (ubuntu.iso) = 2a8bc3d5053a99e2ca5d2a6b441098ab
SHA512 (bsd.rd) = f1bd4967ee401b82195b2a13eb03d21dd915569223a49e481d0288e65d089743feab002701452d34c3917fbe259c5112f484716b783df40b2f65cb7b91f27c70
sha1: 8d65be293d9a5006721d071b22ccc13a8b80bb78
The MD5 sum of the archive is a25a10ca2e5a5a509311bc682c7bac2c; compare it before you unpack.
Expected checksum dc000a6d21a3c344f949ff4fda57f8e45104df645ec8d782f34e68e0a1fe8236, got 4357e0010db70e93b7a734cde0b31344bb8b239d94a4a7a2bc9c1bbb1c43a85a
Die Prüfsumme (SHA-256) lautet f4e3b00a92a17c94fe3197f9504aee9e97feb2d7370e7f44c69fd0062c9ce94a.
La somme de contrôle SHA-1 du fichier est 8912b7a2b8f2b8645559ac6790198ca4a83dd8b7.
La huella SHA-256 del certificado es 6B:13:BB:67:59:B5:B4:DB:56:9C:8E:6D:3A:A5:FC:72:E0:01:EF:C2:2A:EE:08:AF:57:1B:33:F9:2D:9E:F4:6B.
SHA256 Fingerprint=8F:D5:07:C4:1A:8C:84:28:72:DC:65:35:4C:41:17:17:9C:0F:32:E3:99:CF:DC:FF:DA:1F:F3:57:7A:EB:55:CC
SHA1 Fingerprint=86:1C:5A:3F:B2:9D:7B:54:03:D5:D8:83:08:6A:A2:78:7E:69:4D:CD
256 SHA256:YMZ1VXVxAIE-rjOA-w3B0Q7tbtqmTkGLWgQE2j7K4rU root@build (ED25519)
ED25519 key fingerprint is SHA256:CLpeCxoV98PFioPnEhIYXio1uDF9NeQ-LvV0Km0Q7aw.
RSA key fingerprint is MD5:E3:9D:44:2E:CC:8C:A2:D7:37:E0:B3:49:D6:B9:39:54.
github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIVTfcXwVOVHgX28Edj42CmZZXLzmnhH03kGIoRV6xcQ
X509v3 Subject Key Identifier:\n    DD:AD:18:46:B8:06:BD:C8:B6:5D:02:5C:50:D7:F4:1B:5E:A1:8E:ED
Serial Number:\n    04:75:31:CE:08:E7:7B:A6:52:B5:6E:1F:E5:85:3E:44:3C:43
Signature ok, key ID B4E29487A34CE07A
gpg: using EDDSA key B9F1123F9A525FB63BF1153371B9D8EF5C828790
gpg: Good signature from "Release Team <release@example.org>" [ultimate]
Primary key fingerprint: 9A2B 4C1D 7E8F 0A1B 2C3D  4E5F 6071 8293 A4B5 C6D7
pub   rsa4096 2021-05-17 [SC]\n      25EDAA431B73B56627ACFD0A373BAD47AC78C023\nuid           [ultimate] Build Service\nsub   rsa4096 2021-05-17 [E]
fpr:::::::::0F8742C2A845FFA4085E8A36787D778180D420E3:
untrusted comment: minisign public key 78F1E7870C8E56D5
public_key: GbEGG1/TIbv4YOn1fs552yq6qoR4Er0RUaha9ssMj0g=
age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p is the recipient of the backup.
[Peer]\nPublicKey = vz9XHjc6AdWsFNoH2dNuZHZTMXkREaQmXzd/he1QELo=\nAllowedIPs = 10.8.0.2/32
{"kty":"RSA","e":"AQAB","use":"sig","kid":"ke_jL4pxMjMUunqjAE05Sg","n":"DvGIFGl8AKzapOQZ9M18b7rocvWcUB1pCTQRCt7O_AaiiH0IHpcjt-LvY9kC79hwtkKZ4FevL7qdPVgDBG-wDmtJqba-GumR2PyugijH3MRF_aujDai-RQYpNO_m1syd696uFsgPlGK4Mg7paj3T_qy_SzCxu3wly3y6KgqipGypQTBx_q6hxi6eJxD6XsiMBOOOBsyD47EiLGJpRoDD8gv-7MJP06rBs95WhnGqSQ0wIsCgwyGUVPxkjbsvwlMTxGJIKeWqo6itrmL9dYHuyPjOgjHHoEyqMRvEgBoWFNon1UZxXf5PCy_8VsHDKb90xWJsQFz7ThdpQPk7nK4fjA"}
{"keys":[{"kty":"EC","crv":"P-256","x":"iCtnhe_m8HVKLzSan5x3-WmX4Ap3UILxbDXOeqqO8MQ","y":"_J9CRhgSpL-dOCZDcVGcPZDkZbbynEv7xBlQyBt2Xpg","alg":"ES256"}]}
example.org. 3600 IN DS 60485 13 2 F6EA1F1C39EE8882B31818B47BF6F8030098AF0F85DB155A3969A06FFD6D7EE5
example.net. 3600 IN DNSKEY 257 3 13 Ka5H207aCK8yFKjYYpAzCnFaOWHplnBHbxwRQjP1aGVqyv6pR1YV8VuURYTrbDbt4BbjnXLDDtFGokjkbX7cOw==
host.example.com. IN SSHFP 4 2 22a28b1524465c47cb4d1cc6908275fa2cbd3bc5d9b93365bbb940526ddc4c58
_443._tcp.www.example.com. IN TLSA 3 1 1 f9ac44d5c48423785fab967f1fe41e4af6b14f65328ef68171eab286a1a9a30a
s1._domainkey.example.net. 300 IN TXT "v=DKIM1; k=ed25519; p=fIlEbeBDATSxxzyK50JIN7m38kmCSFSJ28uc3d2qsSE="
example.com. 300 IN TXT "google-site-verification=JDvoHfMqXrSAsxoGQsgAFhu-ua0VulKT8RDQX7c5_w8"
example.com. 300 IN TXT "v=spf1 ip4:198.51.100.0/24 include:_spf.example.net -all"
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s1; bh=ikF5KADPLh/Rkf5OnxD47FNXGEj+C1pUTwon2mB+GbM=; h=from:to:subject
example.com. 86400 IN SOA ns1.example.com. hostmaster.example.com. 2026111401 7200 3600 1209600 300
6QE6R3VTGAAS9S4MJJ2KSDC48BO2LF4E.example. NSEC3 1 1 12 aabbccdd 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG
golang.org/x/crypto v0.31.0 h1:Ny2OYWvIfD/fRXYEgoEPsgJ+3N1390VHVZG9iTKsIZ4=
github.com/spf13/cobra v1.8.1/go.mod h1:G72VyeBIdAI3HN8dwuYLUT0GOBh/h3iPrcHlrx7Q4us=
    "integrity": "sha512-NsRoaIM5b4V+7bjRLfS/paGwjCnqaMUJawIRlEqzrp/Ajcd3A/AUmvG/XLdcPzLesUAvWvm9bbaGZkWYBH0DlA==",
  resolved "https://registry.yarnpkg.com/left-pad/-/left-pad-1.3.0.tgz#667af7b35c7503d3e8e2321285c4307c91e1fed5"
  resolution: {integrity: sha512-NmxmB7yVu/25068Xz+gaxYHMsGqRIdwpAR3AlBh4BB63MDxY7KpRNKYFaPx3ihXPZ17BPNgLLA6eRm5D6KzuLQ==}
checksum = "5a03c03e2186fd985249c336114d1dea49c1f2a3691492395bf5bdf0392c297e"
    {file = "idna-3.10-py3-none-any.whl", hash = "sha256:d761158672a9a6666d0e820f1657ef9988d8e93bac59fa968a7653ef2de60062"},
    --hash=sha256:a33a1895d41e23cdb000f5d4224b12feb29a823bce2e4af14888f53c635b2221 \
content-hash = "c60bba839d5547eb9c1a3665f4a7e55c91e392567707bcadb8236c4c482359b8"
"dist": {"type": "zip", "reference": "e8c82c89b09865d13adf7f1e17539382db6a396e", "shasum": ""}
  sha256 = "zwdrz4xyhs3gzgfjcfxx7tpzdgqpxty1csre0mmees9z7a2b4ed0";
  narHash = "sha256-L7NEZk2+6V4I5TegHjn5plEYxGAK4Np1OCvCxxu3oww=";
  rev = "befe633a67e468db0651d2ea67557d700664070e";
FROM python:3.12-slim@sha256:8ffe1cab0eb9b7d57bce95bcddf849f44dcdcd62f1065725f6084dee7537fb23
docker.io/library/redis@sha256:fb6eacb987b02fa082c470bb6597731f3e6807d70bc8289dac4c45a7ff54f174
 ---> 45b0d4491d8f
Step 4/9 : RUN --mount=type=secret,id=npm_token npm ci
CONTAINER ID   IMAGE          COMMAND\n820cec9ef3f1   postgres:16    "docker-entrypoint.s…"
pod/api-7d9c6b5f48-x2kzq   1/1   Running   0   3d4h
uid: 0143d87d-0ce7-464b-bd7a-846ae384c273
PRODUCT_GUID={d750da71-7138-4ab4-ac60-d73b5fe9e0f9}
UUID=3c45d345-8c5a-4b73-8505-741169f2e00a /boot ext4 defaults 0 2
/dev/disk/by-id/nvme-eui.b483dabe45cd6297
urn:uuid:a992e018-0cc8-4c40-9bd8-83d31692228b
arn:aws:kms:eu-central-1:123456789012:key/07379013-617b-4dc6-84f1-fb774a4bcf83
arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/billing/db-password
"SecretId": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mail-token-*"
aws secretsmanager get-secret-value --secret-id prod/db-password --query SecretString
gcloud run deploy api --set-secrets=DB_PASSWORD=db-password:latest
kubectl create secret generic db-password --from-file=password.txt
kubectl get secret db-password -o jsonpath='{.data.password}'
vault kv get -field=password secret/data/prod/db
docker secret create db_password ./db_password.txt
podman run --secret=db-password,type=env,target=DB_PASSWORD app
docker build --secret id=npm,src=$HOME/.npmrc .
op read "op://Private/GitHub/password"
resource "random_password" "admin" {\n  length = 24\n}
data "aws_secretsmanager_secret" "mail_token" {\n  name = "mail-token"\n}
  value     = random_password.admin.result
admin_password = (known after apply)
+ password                 = (sensitive value)
    password             = <sensitive>
output "password" {\n  value     = random_password.admin.result\n  sensitive = true\n}
db_password: '{{ vault_db_password }}'
  password: !vault |
      - name: POSTGRES_PASSWORD\n        valueFrom:\n          secretKeyRef:\n            name: pg\n            key: password
spring.datasource.password=${DB_PASSWORD}
DATABASE_URL=mysql://user:pass@host:3306/dbname
mongodb+srv://<user>:<password>@cluster0.mongodb.net/?retryWrites=true
redis://:$REDIS_PASSWORD@cache:6379/0
amqp://guest:****@mq:5672/%2f
https://user:***@registry.example.com/v2/
postgresql://[user[:password]@][netloc][:port][/dbname]
curl -u "$USER:$TOKEN" https://api.example.com/v1/me
curl -u USERNAME:PASSWORD https://api.example.com/v1/me
curl -H "Authorization: Bearer $(gcloud auth print-access-token)" https://run.example.com
Authorization: Bearer <access_token>
Authorization: Basic [REDACTED]
{"user":"anna","password":"[FILTERED]","remember_me":"1"}
Parameters: {"email"=>"[FILTERED]", "password"=>"[FILTERED]"}
DEBUG config loaded: token=*****, retries=3, password=<hidden>
client_id=YOUR_CLIENT_ID&client_secret=YOUR_CLIENT_SECRET&grant_type=client_credentials
AWS_ACCESS_KEY_ID=AKIAI44QH8DHBEXAMPLE
aws_secret_access_key = je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY
STRIPE_KEY=sk_test_...
export GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
export SSH_AUTH_SOCK=$XDG_RUNTIME_DIR/keyring/ssh
PASSWORD_STORE_DIR=$XDG_DATA_HOME/pass
password_file = $CREDENTIALS_DIRECTORY/db
SECRET_KEY_BASE_FILE=/run/secrets/secret_key_base
password = os.environ["DB_PASSWORD"]
password := os.Getenv("DB_PASSWORD")
let password = std::env::var("DB_PASSWORD").expect("DB_PASSWORD must be set");
String password = System.getenv("DB_PASSWORD");
const { password, ...rest } = req.body;
val password = passwordField.text.toString()
$password = $_POST['password'] ?? '';
if (password.length < 12) { throw new Error('Password is too short'); }
def check_password(password: str, hashed: bytes) -> bool:
public string? Password { get; set; }
password = getpass.getpass("Password: ")
read -rsp "Password: " password && echo
validates :password, presence: true, length: { minimum: 12 }, confirmation: true
defmodule Accounts.PasswordReset do
func (s *Server) ResetPassword(ctx context.Context, req *pb.ResetPasswordRequest) (*pb.Empty, error) {
  password_digest character varying(255) NOT NULL,
ALTER TABLE users ADD COLUMN password_hash text;
SELECT id, email, password_hash FROM users WHERE email = $1;
<input type="password" name="password" autocomplete="current-password" required>
<label for="pw">Password (at least 12 characters)</label>
"forgotPassword": "Forgot your password?",
msgid "Wrong password"
"passwordLabel": "Passwort", "passwordHint": "Mindestens zwölf Zeichen"
| `password` | string | yes | The password of the account |
  -p, --password PASSWORD   password to use when connecting
mysql: [Warning] Using a password on the command line interface can be insecure.
Using --password on the command line is discouraged; use --password-file instead.
The --token option takes precedence over the TOKEN variable.
error: the argument '--password <PASSWORD>' cannot be used with '--password-stdin'
sudo: 3 incorrect password attempts
FATAL:  password authentication failed for user "app"
ORA-28001: the password has expired
Failed password for root from 203.0.113.7 port 52144 ssh2
pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.7
Access denied for user 'app'@'10.0.0.4' (using password: YES)
Enter passphrase for key '/home/anna/.ssh/id_ed25519':
Please choose a password that you do not use anywhere else.
Passwords are hashed with Argon2id before they are stored.
Das Passwort muss mindestens zwölf Zeichen lang sein.
Ihr Passwort ist abgelaufen. Bitte vergeben Sie ein neues.
Haben Sie Ihr Passwort vergessen?
Le mot de passe doit contenir au moins une majuscule et un chiffre.
Votre mot de passe a été modifié avec succès.
La contraseña debe tener entre 8 y 20 caracteres.
Su contraseña caducará dentro de tres días.
La password deve contenere almeno otto caratteri.
La password è stata aggiornata.
Het wachtwoord moet minstens tien tekens lang zijn.
A senha deve ter pelo menos oito caracteres.
Hasło musi mieć co najmniej dziesięć znaków.
The secret to a good stock is patience; the key ingredient is time.
The token bucket holds 100 tokens and refills at 10 tokens per second.
prompt_tokens: 1832, completion_tokens: 211, total_tokens: 2043
PASSED tests/test_password.py::test_reset_token_expires
FAILED tests/auth/test_login.py::test_wrong_password - assert 200 == 401
  ✓ rejects a password without digits (12 ms)
ok 14 - password reset sends mail
--- PASS: TestHashPassword/empty (0.00s)
running 1 test\ntest auth::password_is_hashed ... ok
00000010: 4010 0000 0000 0000 7f45 4c46 0201 0100  @........ELF....
0x0000:  4500 003c 1c46 4000 4006 b1e6 ac10 0a63  E..<.F@.@......c
0000020 40 10 00 00 00 00 00 00 55 48 89 e5 48 83 ec 10
  401136:	55                   	push   %rbp
  40113a:	48 83 ec 10          	sub    $0x10,%rsp
#3  0x00007f8a1c2d3e4f in __libc_start_main () from /lib/x86_64-linux-gnu/libc.so.6
_ZNSt6vectorIiSaIiEE9push_backERKi
_RNvCs1234_7mycrate3foo at /rustc/ee20ac8a81d391e11bcbd4df3d4f12894b75383d/library/core/src/ops/function.rs:250
$s4main3FooV3baryyF
BuildID[sha1]=ba429c2e44cb9e52a8a99e4ce04cfeabd09d3b47, stripped
build-id: b413b733ba853ef87cd652d152fd359807f2f8d9
debuglink /usr/lib/debug/.build-id/4f/f61f1a8191be0f5b470a1dca8ecbc3e543b233.debug
1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6 5. O-O Be7 6. Re1 b5 7. Bb3 d6 1/2-1/2
r1bqkbnr/pppp1ppp/2n5/1B2p3/4P3/5N2/PPPP1PPP/RNBQK2R b KQkq - 3 3
ISBN 978-0-13-110362-7, ISBN-10 0-13-110362-8
ISSN 2041-1723, doi:10.1038/s41586-020-2649-2, arXiv:1706.03762v7
52.5200° N, 13.4050° E
POINT(13.404954 52.520008), accuracy 12.5 m
Tile 14/8802/5374, geohash u33dc0cppjs7
1/1/2026 12:30:45.123456, week 2026-W14-3, epoch 1773480413589
pi = 3.14159265358979323846264338327950288, e = 2.71828182845904523536
EAN 4006381333931, UPC 036000291452, GTIN 00012345600012
color: #1a2b3c4d; background: #ffcc00; border: 1px solid rgb(10 20 30 / 50%)
U+1F600 U+0041 U+10FFFF \u00e9 \x41 &#233;
MAC 00:1a:2b:3c:4d:5e, fe80::21a:2bff:fe3c:4d5e
0x89abcdef 0xDEADBEEF 0b10110011 0o755 1e-9 6.02214076e23
v2.1.0-rc.3+build.20261114.sha.a9f702df
linux-image-6.12.0-1-amd64_6.12.6-1_amd64.deb
CPE cpe:2.3:a:openssl:openssl:3.0.7:*:*:*:*:*:*:*
CVE-2024-3094, CWE-798, GHSA-rxwq-x6h5-x525
ACGTACGTTAGCCGATATCGGCTAAGCTTAACGTGGCATCGATCGATTACAGG
rs1801133, NM_000546.6:c.215C>G, P04637
InChIKey=RYYVLZVUVIJVGH-UHFFFAOYSA-N
CN1C=NC2=C1C(=O)N(C(=O)N2C)C
genesis 000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f
txid 057059d7b301ff83e1abb14f0d743204c38be56e2c5c2f9ffaad0e1038b4e5f7 has 6 confirmations
contract 0x891d0e05f7a150fd498178524dae0e01d3ed1126 on chain 1
ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi
magnet:?xt=urn:btih:d9cdf58086023f1efeea712a00d5e64f21fef035
https://www.youtube.com/watch?v=dQw4w9WgXcQ
https://github.com/owner/repo/blob/972d0d0f9d16a5938eaf8bd12b53c59c857042d1/src/auth/password.go#L42
Send a mail to info@example.com or call 555-0134.
Call the front desk at (212) 555-0147 between 9 and 5.
"email": "john.doe@example.org", "phone": "+1 202-555-0182"
From: noreply@example.net To: user@example.com
Reply to postmaster@mail.example or to support@shop.test.
Contact: admin@corp-server.local, printer@office.lan
In the sandbox, 4000 0000 0000 9995 is declined and 4242424242424242 is accepted.
Test cards: 5105 1051 0510 5100 (Mastercard), 3782 822463 10005 (American Express), 6011 1111 1111 1117
Message-ID: <20261114081231.4F2A1C0@mail.example.com>
References: <CAF=7hhTk8CPMfTu_4L2X5iibVzS7uJFR2Mt@mail.example.org>
pkg:npm/%40angular/core@17.3.0
uses: actions/setup-node@v4 with node-version 20
import "@fontsource/inter@5.0.16/400.css"
npm WARN deprecated uuid@3.4.0: Please upgrade to version 7 or higher
Thanks to @anna and @ben for the review of #4821.
keyspace events: Kg$lshzxe
Row 3 | key=value | hits=12 | pass=7 | fail=0
Tests: 212 passed, 3 skipped; pass rate 98.6%
exit=0 pass=41 fail=0 skip=2
pass: 12 fail: 0 skip: 1
author = {Knuth, Donald E.}, key = {knuth1984}, year = 1984
gatsby-plugin-manifest: cache-busting query ?v=8aea2fa2fe22d3ef068b02d9a0bdfc0e
main.3b211da8fb8592125a80.chunk.js   142 kB
app-44eaefb3.css, vendor.51827c81d5f0c2d4.js
"""
HEADERS_AND_IDENTIFIERS = r"""
[2026-11-02 07:41:16,204] {taskinstance.py:1332} INFO - Marking task as SUCCESS. dag_id=daily, run_id=scheduled__2026-11-01T00:00:00+00:00
Nov  2 07:41:16 web-3 sshd[21934]: Accepted publickey for deploy from 203.0.113.9 port 51882 ssh2: ED25519 SHA256:Ll7nKp-dK5yjaodPnTT_AvdO7LqvhWzgREX2IYCKFec
Nov  2 07:41:19 web-3 systemd[1]: Started Password Agent for console.
time="2026-11-02T07:41:19Z" level=info msg="layer already exists" digest="sha256:b6d69e8120ad953c4d79e98be3a97b3c8dd12d02687c314dfec065796573ca8e"
I1102 07:41:16.204512       1 controller.go:615] quota admission added evaluator for: secrets
{"level":"error","ts":1793605276.204,"caller":"auth/token.go:88","msg":"token expired","request_id":"a71dba49-5552-4a89-9ab4-fcb8093f36eb"}
127.0.0.1 - frank [10/Oct/2026:13:55:36 -0700] "GET /reset-password?step=2 HTTP/1.1" 200 2326
sentry event d191af26a095cd27cf292a133956de8f captured
newrelic guid MTIzNDU2fEFQTXxBUFBMSUNBVElPTnwxMjM0NTY3ODk
Correlation ID: 4f7b56bf-5572-4a8a-afa2-d07c1121a14d
Session ID: n/a, connection 0x7f8a1c2d3e4f closed
jaeger uber-trace-id: 1c2432aa6aeb84ac:e22f065f33b38e7f:0:1
cf-ray: 222a846972497439-FRA
X-Cache: HIT from cloudfront, X-Amz-Cf-Id: xPAwcaOFGK3cYB-Iwd41SvCWHm07wfocTOItYtlJyovtTjesQWBypN-R
x-goog-hash: crc32c=JC/R2A==, md5=b0ykIhenf2DxhUB5mj+NLA==
x-amz-version-id: px1EWfn1TDN4811HDWA4ycWoPng8FA95
Set-Cookie: theme=dark; Path=/; SameSite=Lax
Cookie: consent=yes; lang=de
HTTP/1.1 407 Proxy Authentication Required
Vary: Origin, Authorization
Access-Control-Allow-Headers: Authorization, X-Api-Key, Content-Type
private String passwordHash;
@Value("${spring.security.user.password}") private String password;
fun login(username: String, password: CharArray): Result<Session>
let passwordField = UITextField(); passwordField.isSecureTextEntry = true
passwordEncoder.matches(rawPassword, user.getPasswordHash())
if ($user && password_verify($password, $user->password_hash)) {
password: z.string().min(12).max(128),
password = models.CharField(max_length=128)
password_confirmation: params[:password_confirmation]
user.password = generate_password()
token, err := jwt.Parse(tokenString, keyFunc)
const token = localStorage.getItem("token");
headers: { Authorization: `Bearer ${token}` }
axios.defaults.headers.common["X-API-Key"] = process.env.API_KEY;
assertThat(response.getPassword()).isNull();
expect(wrapper.find('input[type=password]').exists()).toBe(true)
char *password = getenv("DB_PASSWORD");
std::string token = tokenizer.next();
#define PASSWORD_MAX_LEN 72
static const char *const token_names[] = { "IDENT", "NUMBER" };
enum TokenKind { Identifier, StringLiteral, OpenBrace }
for (const key of Object.keys(secrets)) delete secrets[key];
key := "password"
fields = ["username", "password", "remember"]
case "password": return <LockIcon />;
raise ValueError("password must not be empty")
logger.info("Password for %s was changed", user)
print(f"Token {token[:4]}… accepted")
SECRET_KEY = env("SECRET_KEY")
secret_name = "projects/my-project/secrets/db-password/versions/latest"
secretKeyRef:\n  name: app-secrets\n  key: jwt-signing-key
- secretRef:\n    name: billing-credentials
imagePullSecrets:\n  - name: registry-credentials
existingSecret: redis-credentials
passwordSecretKeyRef: postgres-password
env:\n  DB_PASSWORD:\n    from_secret: db_password
password: ${{ secrets.DOCKERHUB_TOKEN }}
GITHUB_TOKEN: ${{ github.token }}
with:\n  token: ${{ secrets.GITHUB_TOKEN }}\n  key: ${{ runner.os }}-node-${{ hashFiles('**/package-lock.json') }}
secrets: inherit
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
password_encryption = scram-sha-256
PasswordAuthentication no
PermitEmptyPasswords no
ssl_certificate_key /etc/letsencrypt/live/example.com/privkey.pem;
auth_basic_user_file /etc/nginx/.htpasswd;
auth required pam_unix.so nullok
password [success=1 default=ignore] pam_unix.so obscure yescrypt
password    requisite    pam_pwquality.so retry=3 minlen=12
local   all   all   scram-sha-256
root:x:0:0:root:/root:/bin/bash
sshd:!:19814::::::
credential.helper=store
[credential]\n	helper = cache --timeout=3600
pinentry-program /usr/bin/pinentry-curses
passphrase-cache-ttl 600
requirepass ""
set smtp_pass = "`pass mail/work`"
passwordeval "gpg --quiet --decrypt ~/.mail.gpg"
PassCmd "pass mail/anna"
machine-id 9beecaf11245c93382a3836df2f35754
snapshot 196e5ce0-1424-4f98-b2f8-068d3830ab6e created
PARTUUID="744e0fdb-02"
root=PARTUUID=6deb0cdb-44bb-4733-86c7-9355b753148b ro quiet splash
CLSID {0002DF01-0000-0000-C000-000000000046}
Device ID: PCI\VEN_8086&DEV_9A49&SUBSYS_0B001028
Product ID: 00330-80000-00000-AA123
wwn-0x5000c500a1b2c3d4
bdf8:0x1f device 10de:2684 (rev a1)
lsusb: Bus 001 Device 004: ID 046d:c52b Logitech, Inc. Unifying Receiver
perf: 1,234,567,890 cycles, 987,654,321 instructions
md5:481bc35ab3ebf3614ebd7b9aa52dabcc sha256:e4e1f975bd292547ed5a36c61efa2b43e8750274351fd326026d1a4681a68e77 size:48211
570517c9e76c0000a26640657636053282715277  ./dist/index.js
627acd4eebdefb2eeb8d46af5a848160e8823189da562db2db4699e326a3a6ca *setup.exe
CRC32: 315f56bb XXH64: a7eba71e9630501c
SHA-1 of the tree: a684cedd65751411f1149b8b882d9f521b2b0129
Files differ: 7050fd896f67e58d7a2f5312ebeb3bb8 != 0ccf3bed1827cce6aee6f6a0959c3e73 (MD5)
Downloaded newer image for nginx@sha256:3758b9914680cfcd859b7f3f7383a73aae0511ab8e76ab677b3501548aedd316
Image ID: sha256:a2c707ce8834eb23c99482e0d9ac1ff8ba66e86cb1a958a3f55ae5730bf5b72d
pinned to 7749d2872748bce6277f0fde8f6ef43151e8be69 in flake.lock
Updating 7f831f50..c09bf110 Fast-forward
Reverts 6a000761d5cee19c2a8bc3d5053a99e2ca5d2a6b.
bisect: first bad commit is 441098abf1bd4967ee401b82195b2a13eb03d21d
cherry picked from commit d915569223a49e481d0288e65d089743feab0027
Co-authored-by: GitHub Actions <noreply@github.example>
-----BEGIN CERTIFICATE-----\nAUUtNMORf74lnFES9IRxa3g99AsvZct7kfJ8cI1lvik9mlAGch0HGyLMwTqLgLt4\noloQyi5aWlCTEbxoLHusLNwACm0ho8NE+Un/T9pX+ORRBN9kXsjXgvNOaOCh/oI2\n-----END CERTIFICATE-----
-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAQ1fgAQ23DpO3pzTN4LMTRLuLI52UpKeivJwbuxxDqFo=\n-----END PUBLIC KEY-----
subject=CN = www.example.com\nissuer=C = US, O = Let's Encrypt, CN = R11
Modulus (2048 bit):\n    00:0A:94:F9:9E:D7:44:06:4A:A2:64:67:A4:B7:6B:\n    13:BB:67:59:B5:B4:DB:56:9C:8E:6D:3A:A5:FC:72:
Public-Key: (256 bit)\npub:\n    04:E0:01:EF:C2:2A:EE:08:AF:57:1B:33:F9:2D:9E:\n    F4:6B:8F:D5:07:C4:1A:8C:84:28:72:DC:65:35:4C:
Log ID    : 41:17:17:9C:0F:32:E3:99:CF:DC:FF:DA:1F:F3:57:7A:EB:55:CC:86:1C:5A:3F:B2:9D:7B:54:03:D5:D8:83:08
pin-sha256="zRD/atHZo6Jbt9x4fm0OfhzBKmkwUR5NLFbpzWDGdVU="; max-age=5184000
HPKP sha256/dXEAgT6uM4D7DcHRDu1u2qZOQYtaBATaPsritQi6Xgs=
signify public key RWGhX3w8WKg+cSEhheKjW4MX015D4u9XQqbRDtrDb8z+Mq2uadXx2CRA==
cosign verify --key cosign.pub registry.example.com/app@sha256:d6dd562eb5faa5cc37b0238c53973ca2614b7dd7c4804b37d498dee08b406ab3
rekor logIndex 48291733, uuid 1359c74979c301d6697f1fb990f9d4397d8189545537dc5f054e547817dbc11d8f8d829996572f39
a7847d3790622845125eb171243b05ddcab8b9ad2d13821822900f466b6561b8:0 spent in block 840000
bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq received 0.01 BTC
Merkle root: 55e9920696ccd8bd3aa18fc8592503b6514cfe5d9530f50241df175cb277b850
solana program TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA
www.example.com. 300 IN CAA 0 issue "letsencrypt.org; validationmethods=dns-01"
_acme-challenge.example.com. 60 IN TXT "DQrj199ofvS3cmobJ1GXXsvn5qEkESGO4RS27QpdVXU"
$ORIGIN example.com.\n@ 3600 IN SOA ns1 hostmaster 2026110201 7200 3600 1209600 3600
example.com. IN RRSIG A 13 2 300 20261210000000 20261119000000 34505 example.com. eYAlMZPW3s77uC0IBNcT55Rmc3uEmRymEvcCUlxzarXOTqVuX0LDHzQ6leXUkZ2FtiulPgZmfUSM7QQ86EcFQw==
4.3.2.1.in-addr.arpa. PTR host.example.net.
"id": "chatcmpl-tOKUh6NM4Hq58RI_mlJftjvxFTPv", "object": "chat.completion"
"id": "req_XIKHkCXtqkMbc7VmJ6z9Cq1H", "type": "message"
"order_id": "ord_238818141067", "currency": "EUR"
commit 4d0ab1c fixed in PR #4821; see also issue 1234567890
Kundennummer 48 213 907, Rechnung RE-2026-00481, Betrag 1.249,00 EUR
Artikelnummer 4006381333931, Charge L2026-114-B
Flight LH 1234, seat 23A, gate B42, 07:45-09:10
Invoice 2026-0017, PO 4500123456, due 2026-12-31
Room 4.12, desk 7, ext. 4417
Temperature 21.5, humidity 48, pressure 1013.25
Sudoku 530070000600195000098000060800060003400803001700020006060000280000419005000080079
Rubik: R U R' U' F2 D L2 B' R2 U2
sgf ;B[pd];W[dp];B[pp];W[dd]
fen 8/5k2/3p4/1p1Pp2p/pP2Pp1P/P4P1K/8/8 b - - 99 50
GPS: 48.858370, 2.294481, 330 m; what3words ///filled.count.soap
MGRS 31U DQ 48251 11932, plus code 8FW4V75V+8Q
Einstein 1905, Ann. Phys. 322(10), 891-921, doi:10.1002/andp.19053221004
ORCID 0000-0002-1825-0097, PMID 31452104, PMC6736854
LCCN 2001012345, OCLC 48829376
PDB 1CRN, UniProt Q9Y6K9, EC 3.4.21.4
Pantone 19-4052, RAL 5002, hsl(210 40% 96%)
M10 x 1.5 - 6g, DIN 912, ISO 4762
resistor 4k7 1%, cap 100n, STM32F407VGT6, ATmega328P-PU
ASIN B07FZ8S74R, SKU 8842-XL-BLK
v20.11.1 npm@10.2.4 pnpm@8.15.1 node_modules/.pnpm/react-dom@18.2.0_react@18.2.0
@types/node@20.11.5 @babel/core@7.23.7
spring-boot-starter-security:3.2.1:jar
libssl3t64:amd64 3.0.13-0ubuntu3.4
g++-13_13.2.0-23ubuntu4_amd64.deb
openssl-sys v0.9.99 (registry+https://github.com/rust-lang/crates.io-index)
nixpkgs/24.11 /nix/store/9bcj56vt212w03h5rc9avw41t3n4acw2-openssl-3.0.14
swift-tools-version:5.9
Meet at the key desk; ask for the pass at the gate.
The pass through the Alps is closed from October on.
He passed the exam, and the secret of his success was sleep.
Nobody knows the password of the old router any more.
Never share your password, PIN or one-time code with anybody.
If you forget your passphrase, the backup cannot be restored.
We rotate tokens every 90 days and keys once a year.
The API key is stored in the keychain, not in the file.
Passwords that appear in breaches are refused.
Bitte geben Sie Ihre PIN niemals am Telefon weiter.
Das Kennwort wird nicht gespeichert.
Die Passwörter der Nutzer liegen nur als Hash vor.
Passwort vergessen? Klicken Sie auf den Link in der E-Mail.
Le mot de passe est obligatoire.
Mot de passe oublié ? Cliquez ici.
Les mots de passe ne sont jamais stockés en clair.
¿Ha olvidado su contraseña?
La contraseña no coincide con la anterior.
Nunca compartas tu contraseña con nadie.
La password non può essere vuota.
Le credenziali inserite non sono corrette.
Wachtwoord vergeten? Vraag een nieuwe aan.
Hasło jest za krótkie.
Lösenordet måste innehålla en siffra.
A palavra-passe foi alterada.
Salasana on liian lyhyt.
パスワードは12文字以上にしてください。
密码长度不能少于12位。
Пароль должен содержать не менее 12 символов.
"""
TOOLS_AND_SENTENCES = r"""
Nov 14 08:12:31 mx1 postfix/smtp[2211]: 4F2A1C0: to=<user@example.com>, relay=mx.example.com[192.0.2.10]:25, status=sent
Nov 14 08:12:31 fw kernel: [UFW BLOCK] IN=eth0 OUT= MAC=00:16:3e:5e:6c:00 SRC=203.0.113.4 DST=192.0.2.1 LEN=60 PROTO=TCP SPT=51234 DPT=22
2026-11-14 08:12:31.402 UTC [1821] LOG:  connection authenticated: identity="app" method=scram-sha-256 (/etc/postgresql/pg_hba.conf:97)
[Sat Nov 14 08:12:31 2026] [auth_basic:error] [pid 712] user bob: authentication failure for "/admin": Password Mismatch
level=info component=vault msg="token renewed" accessor=Ll7nKp-dK5yjaodPnTT_Auy6 ttl=3600
WARN  o.s.s.c.p.NoOpPasswordEncoder - This PasswordEncoder is not secure
goroutine 18 [running]: main.(*TokenStore).Get(0xc0000b6000, {0xc00001c0a8, 0x24})
at com.example.auth.PasswordService.verify(PasswordService.java:142)
  File "/srv/app/auth/tokens.py", line 58, in decode_token
thread 'main' panicked at src/secret.rs:17:5: called `Option::unwrap()` on a `None` value
Build fingerprint: 'google/husky/husky:14/UQ1A.240205.004/11269751:user/release-keys'
kernel: audit: type=1112 audit(1793605276.204:811): pid=812 uid=0 auid=4294967295 ses=4294967295 msg='op=login acct="bob" exe="/usr/sbin/sshd"'
span.id=af856ce04445f621 parent.id=808a15e7b6d69e81 trace.id=20ad953c4d79e98be3a97b3c8dd12d02
X-B3-TraceId: 687c314dfec065796573ca8eeb363f09
x-ms-request-id: 26af91d1-a71d-4a49-9552-da89dab4fcb8
x-github-request-id: C8A4:2F1E:1B2C3D:2E3F4A:65B0C1D2
X-Hub-Signature-256: sha256=a095cd27cf292a133956de8f4da121117cd0a2af8a4a7255bf567b4f1c2432aa
Signature: keyId="main-key",algorithm="rsa-sha256",headers="(request-target) host date",signature="auuErOIvBl8zs45/IiqEaXJJdDnE8DBxo4UYrdxgH4jB3jVK8JYebTvB+hxM4i1i2UnKi+1ON6xBYHKkvj3fkSQv0dhvTKQiF6d/YPGFQHmaP40spx1EWfn1TDN4811HDWA4ycWoPng8FA95m+7K8RJFyTOCo4Nt8vNXVG6rMDg="
NEL: {"report_to":"default","max_age":31536000,"include_subdomains":true}
apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: build\nautomountServiceAccountToken: false
volumes:\n  - name: tls\n    secret:\n      secretName: web-tls
resourceVersion: "48210311"\n  uid: db0f4e74-196e-4ce0-9424-ef98f2f8068d
kubernetes.io/service-account-token
checksum/config: 8b1453b75593c74633d7bb44db0ceb6d481bc35ab3ebf3614ebd7b9aa52dabcc
pod-template-hash=7d9c6b5f48
containerID: containerd://e4e1f975bd292547ed5a36c61efa2b43e8750274351fd326026d1a4681a68e77
imageID: docker.io/library/nginx@sha256:570517c9e76c0000a26640657636053282715277627acd4eebdefb2eeb8d46af
"Digest": "sha256:5a848160e8823189da562db2db4699e326a3a6ca315f56bba7eba71e9630501c",
"ChainID": "sha256:a684cedd65751411f1149b8b882d9f521b2b01297050fd896f67e58d7a2f5312",
terraform: random_id.suffix: Creation complete after 0s [id=6-s7uA]
aws_instance.web: Refreshing state... [id=i-0a1b2c3d4e5f67890]
arn:aws:iam::123456789012:role/rotate-secrets
arn:aws:sns:eu-west-1:123456789012:password-expired
projects/482101234567/secrets/mail-password/versions/3
/subscriptions/733e9c95-a0f6-46ae-a6cc-2718ed3bcf0c/resourceGroups/rg-prod/providers/Microsoft.KeyVault/vaults/kv-prod/secrets/db-password
https://kv-prod.vault.azure.net/secrets/db-password/3758b9914680cfcd859b7f3f7383a73a
ssm:/prod/app/db-password
password: ${env:DB_PASSWORD}
password = "${var.db_password}"
password: {{ .Values.auth.password | quote }}
password: "{{ lookup('env', 'DB_PASSWORD') }}"
password=%DB_PASSWORD%
password: ENC[AES256_GCM,data:rgURq452q2d7NQFU,iv:iu3TFqLHB86INOsjyZSC4NmsH/i6ZuhssalYo/Va5XM=,tag:C/W3LXdJ0ocnSLzmJ38P3g==,type:str]
sops:\n    age:\n        - recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
pgp: 8F6EF43151E8BE697F831F50C09BF1106A000761
<password>${db.password}</password>
<property name="password" value="${jdbc.password}"/>
<entry key="password.min.length">12</entry>
<string name="password_hint">Password</string>
android:inputType="textPassword"
password.required=Bitte geben Sie ein Passwort ein
error.password.tooShort=Le mot de passe est trop court
login.token.invalid = Das Token ist ungültig oder abgelaufen
"errors": {"password": ["is too short (minimum is 12 characters)"]}
{"type":"object","required":["password"],"properties":{"password":{"type":"string","minLength":12}}}
"password": {"type": "string", "format": "password", "writeOnly": true}
password: String! @deprecated(reason: "Use passkeys")
message LoginRequest { string username = 1; string password = 2; }
rpc ResetPassword(ResetPasswordRequest) returns (Empty);
CREATE TABLE tokens (id uuid PRIMARY KEY, token_hash bytea NOT NULL, expires_at timestamptz);
GRANT SELECT ON users TO readonly;
ALTER ROLE app WITH PASSWORD :'app_password';
CREATE USER app IDENTIFIED BY '<password>';
UPDATE users SET password = ? WHERE id = ?
INSERT INTO users (name, password) VALUES ($1, crypt($2, gen_salt('bf')))
mysql -u root -p
psql -U app -W -h localhost
PGPASSFILE=~/.pgpass psql -h db
docker login -u "$CI_USER" -p "$CI_TOKEN" registry.example.com
echo "$CI_TOKEN" | docker login --username ci --password-stdin
sshpass -e ssh root@10.0.0.5
curl -H "X-Api-Key: ${API_KEY}" https://api.example.com/
curl --user "$AUTH" https://api.example.com/
wget --ask-password --user=anna https://files.example.com/a.zip
openssl rand -base64 32
openssl passwd -6
gpg --batch --passphrase-file ~/.pass -d backup.gpg
pwgen -s 20 1
htpasswd -c /etc/nginx/.htpasswd anna
keytool -list -keystore app.jks -storepass:env STORE_PASS
zip -e -r private.zip docs/
az keyvault secret show --name db-password --vault-name kv-prod
heroku config:get SECRET_KEY_BASE
fly secrets set DB_PASSWORD="$DB_PASSWORD"
gh secret set NPM_TOKEN < token.txt
pass show mail/work
bw get password github
secret-tool lookup service mail
ansible-playbook site.yml --ask-vault-pass --vault-password-file ~/.vault
ansible -m ping deploy@all -k
ssh root@192.0.2.7 'systemctl restart app'
ssh -J jump@edge.kestrel.eu admin@core.kestrel.eu
scp -P 2222 anna@files.kestrel.eu:~/report.pdf .
rsync -e "ssh -i ~/.ssh/k" -a ./ anna@web.kestrel.eu:/srv/
git remote set-url origin deploy@git.kestrel.eu:ops/site.git
Host bastion\n  HostName bastion.example.com\n  User ops\n  IdentityFile ~/.ssh/id_ed25519
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC1c7hnCqLw9UFOpniyl0qa0QQmKvxvUln7kAbghlbKhPrA9Id2RVWkiOknkgdAojmXQiXQ/6rACcBRS00w5F/viWcURL0hHFreD30Cy9ly3uR8nxwjWW+KT2aUAZyHQcbIszBOouAu3iiWhDKLlpaUJMRvGgse6ws3AAKbSGjw0T5Sf9P2lf45FEE32ReyNeC805o4KH+gjZDV+ABDbcOk7enNM3gsxNEu4sjnZSkp6K8nBu7HEOoWvTjsAqSoXyU/jGX+VBK7p4= build@ci
@cert-authority *.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIl_6y1zcOf0TGn9AGLJzpSokSt6K48rhkVVmsZxmMpA
[Interface]\nAddress = 10.8.0.2/32\nDNS = 10.8.0.1
peer: qD3Yt18+XGu2of0T/Qz3u3AquGfF6OpZ4Q5ztfkHCrQ=
PublicKey: j+t227Fxc1b86X2ccVa7jplYS21bTVQ6Q8P6pXjexvw=
"publicKeyMultibase": "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK
nostr:npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6
Public key fingerprint: 9945ac72ca18ede004529a0180ec44efffeebec2fed0552a0f9903ee639ef308
tor v3: duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion
syncthing device P56IOI7-MZJNU2Y-IQGDREY-DM2MGTI-MGL3BXN-PQ6W5BM-TBBZ4TJ-XZWICQ2
apt-key: 9D6D 8F6B C857 C906 AA2F  7BA2 3A5B 5F3B 1B2C 4D5E
rpm: Key ID 199e2f91fd431d51: OK
SHA256 (go1.23.4.linux-amd64.tar.gz) = 801a87af04b57657cdcdcf1b352c8933de0a55f97326a82dca219e9eb44523f4
sha256sum -c SHA256SUMS: ubuntu.iso: OK
blake3 37bf396b9c2e298f8679b7d50652900700749dc46f9c531aef99748ce777fa84
  "sha512": "6XaJKBt1BnLQA3XcfgTMZSQSKTW3jthM5YaBQZatuxfHfB0Xyr94nBonDw/9bmgyK4Q048pF5pm0wJ7Po5QG3A==",
yarn.lock: checksum: 10c0/8511c5ffef88d2da1e2a4b1ff34e69f38cb7f55732a7d97a856894eb7a1a445527cfe0cc22f3fd862fd7f01cb704685aa284733fb03214b2f894af9de693fe7b
PODFILE CHECKSUM: a5a09b54d0c76c03955fa1d5a2935ad896336483
SPEC CHECKSUMS:\n  Alamofire: e14dd908cd10ff6ad1d9a3a25bb7dc787e6d0e7e
uv.lock: { url = "https://files.pythonhosted.org/packages/ab/12/1cc12a6930511e4d2c56e9cd60c67555757100813eae3380fb0dc1d16eda/idna-3.10.tar.gz", hash = "sha256:a64e418b5a0404da3ecae2b508ba5e0b1a15f7c3c58a83e71212185e2a35b831", size = 190490 }
distributionSha256Sum=7d35e43e2ef5742a6d10edac36fccfe32adae69d5f1d8244d6dd562eb5faa5cc
commit-hash: 37b0238c53973ca2614b7dd7c4804b37d498dee0
vcs.revision=8b406ab31359c74979c301d6697f1fb990f9d439
git describe: v1.4.2-17-g9b3a1c2
Change-Id: I7d8189545537dc5f054e547817dbc11d8f8d8299
Signed-off-by: Release Bot <bot@example.org>
git-lfs oid sha256:96572f39a7847d3790622845125eb171243b05ddcab8b9ad2d13821822900f46
From 6b6561b855e9920696ccd8bd3aa18fc8592503b6 Mon Sep 17 00:00:00 2001
514cfe5d9530f50241df175cb277b8500d0ae3d7 9fceb02 fix: tokens are compared in constant time
parent df687ef4b7726a1b2751975ecbe7e6a12411218e
author Anna Lind <user@example.org> 1793605276 +0100
btrfs subvolume UUID: ceded693-3125-4079-b555-5d0aedb614e1
zpool guid 12871205923051250345
ata-WDC_WD40EFRX-68N32N0_WD-WCC7K4XXXXXX
nvme0n1 Samsung SSD 980 PRO 1TB S5GXNX0R123456
ID 1d6b:0002 Linux Foundation 2.0 root hub
fbb82d0804d713e79466737b84991ca6-5618 task finished
job-48210-b62ba53e queued
UID:8794e2b4-4305-47e8-bc04-ed8c447d6606@example.com
ENTITY id="0x1F600" name="grinning face"
\x7f\x45\x4c\x46\x02\x01\x01\x00
b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR'
byte[] magic = { 0xCA, 0xFE, 0xBA, 0xBE };
const uint32_t k[4] = { 0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5 };
7f454c4602010100000000000000000003003e0001000000
6A 00 68 88 13 00 00 FF 15 20 30 40 00 85 C0 74
000001a0  55 aa 00 00 12 34 56 78  41 11 11 11 11 11 11 11  |U....4VxA.......|
ff 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16
std::_Rb_tree<int, std::pair<int const, int> >::_M_erase
?get@Token@@QEBAHXZ
_ZN9grpc_core12Chttp2Server5StartEPNS_6ServerE
__ZNSt3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEE
lib.so(+0x1a2b3) [0x7f1234567890]
minified: !function(e,t){"object"==typeof exports&&"undefined"!=typeof module}
chunk-vendors.a34ce07a.js 482.10 KiB
QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPnHG
0x71C7656EC7ab88b098defB751B7401B5f6d8976F received 2 ETH
block 0000000000000000000b4d0e3a1c3f1d2b3a4c5d6e7f8091a2b3c4d5e6f70819
addr1qx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzer3jcu5d8ps7zex2k2xt3uqxgjqnnj83ws8lhrn648jjxtwq2ytjqp
Bestellnummer 4821-0031-7788, Lieferung KW 47
Sendungsnummer 00340434161094042557
Tracking 1Z999AA10123456784, RMA 20261114-17
IMEI is printed under the battery; model SM-G991B
Part 4006-3813-33, torque 8.5 Nm
2026-11-14 08:12 12 345 678 rows, 9 876 543 bytes
1 234 567,89 EUR; 98.765.432,10 EUR
score 3:2, 21-19 18-21 21-17
7 12 19 23 38 44 + 6
rs334(T) chr11:5227002 GRCh38
ISBN 3-16-148410-X, 978 3 16 148410 0
doi.org/10.1038/nature12373, PMCID PMC4221854
48°51'29.6"N 2°17'40.2"E; 48.858222,2.2945
utm_source=newsletter&utm_medium=email&utm_campaign=autumn26
?page=2&sort=-created_at&filter[status]=open
https://cdn.example.com/assets/app.js?v=1793605276
https://example.com/reset-password
https://www.figma.com/community/file/1035203688168086460
vscode://file/home/anna/project/src/token.ts:42:7
user@example.com is shown in the form until you type
Ask first.last@example.com or your.name@example.org
Telefon 555-0188 (fictional)
The key to the shed is under the pot; the pass is open.
This is a secret between you and me.
A token of gratitude was handed to all the helpers.
You need the old password to set a new one.
The password field must not be empty, and the two passwords have to match.
Passwords expire after 90 days; you will be reminded 14 days before.
My password manager generates passwords with 24 characters.
Das Passwort darf Ihren Benutzernamen nicht enthalten.
Das Passwort für das WLAN hängt am Kühlschrank.
Ihr Kennwort läuft in 14 Tagen ab.
Le mot de passe du wifi est affiché à la réception.
Veuillez saisir votre mot de passe actuel.
La contraseña debe incluir letras, números y símbolos.
Cambie su contraseña cada seis meses.
La password scade tra 30 giorni.
Inserisci la password attuale per continuare.
Uw wachtwoord verloopt over 14 dagen.
A senha não confere; tente novamente.
Hasło wygasło, ustaw nowe.
Heslo musí obsahovat alespoň jedno číslo.
"""
NOTATIONS_AND_SETTINGS = r"""
2026-11-14 08:12:31 [note] InnoDB: page checksum 2940283830, lsn 48291733012
worker-3 | job 48213 (093f36eb-8eca-4365-b965-c0fe4d317c68) done in 312 ms
nginx: client 203.0.113.7 sent "POST /oauth/token HTTP/2.0", status 401
AH01617: user guest: authentication failure for "/private": Password Mismatch
celery.worker.strategy: Received task: mail.send[26af91d1-a71d-4a49-9552-da89dab4fcb8]
rails: Completed 422 Unprocessable Entity in 41ms (ActiveRecord: 3.2ms | Allocations: 4211)
sudo:   anna : TTY=pts/0 ; PWD=/home/anna ; USER=root ; COMMAND=/usr/bin/apt update
dovecot: imap-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<test>, method=PLAIN
elasticsearch: node id [oJXNJ88pKhM5Vt6PTaEhEQ], cluster uuid [fNCir4pKclW_VntPHCQyqg]
kafka: Cluster ID: auuErOIvBl8zs45_IiqEaQ
mongod: "uuid":{"uuid":{"$uuid":"881f60dc-ad18-45a3-b130-f0c439744972"}}
ObjectId("c1de354af0961e6d3bc1fa1c")
{"_id":"4ce22d62d949ca8bed4e37ac","__v":0}
etcd: member 416072a4be3ddf91 is healthy
grafana dashboard uid adx7k2m1f0qo0b
Artifact digest 8d06f8f298ef2414e05c6e19744e0fdb8b1453b75593c74633d7bb44db0ceb6d
pip: Created wheel for foo: filename=foo-1.0-py3-none-any.whl size=4821 sha256=e8750274351fd326026d1a4681a68e77570517c9e76c0000a266406576360532
go: downloading github.com/golang-jwt/jwt/v5 v5.2.1
cargo: Compiling password-hash v0.5.0
npm: added 212 packages, and audited 213 packages in 4s
gem 'bcrypt', '~> 3.1.7'
implementation("org.springframework.security:spring-security-crypto:6.3.1")
composer require symfony/password-hasher
<PackageReference Include="Microsoft.AspNetCore.Identity" Version="8.0.4" />
"@auth/core": "^0.34.2"
"jsonwebtoken": "^9.0.2",
mix.lock: "jason": {:hex, :jason, "1.4.4", "82715277627acd4eebdefb2eeb8d46af5a848160e8823189da562db2db4699e3", [:mix], [], "hexpm", "26a3a6ca315f56bba7eba71e9630501ca684cedd65751411f1149b8b882d9f52"},
stack.yaml.lock: sha256: 1b2b01297050fd896f67e58d7a2f5312ebeb3bb80ccf3bed1827cce6aee6f6a0
pubspec.lock: sha256: "959c3e733758b9914680cfcd859b7f3f7383a73aae0511ab8e76ab677b350154"
Package.resolved: "revision" : "8aedd316a2c707ce8834eb23c99482e0d9ac1ff8"
renv.lock: "Hash": "ba66e86cb1a958a3f55ae5730bf5b72d"
conda: https://conda.anaconda.org/conda-forge/linux-64/zlib-1.3.1-hb9d3cd8_2.conda#7749d2872748bce6277f0fde8f6ef431
PKGBUILD: sha256sums=('d5cee19c2a8bc3d5053a99e2ca5d2a6b441098abf1bd4967ee401b82195b2a13')
b2sums=('eb03d21dd915569223a49e481d0288e65d089743feab002701452d34c3917fbe259c5112f484716b783df40b2f65cb7b91f27c708d65be293d9a5006721d071b')
brew: sha256 cellar: :any, arm64_sequoia: "22ccc13a8b80bb78a25a10ca2e5a5a509311bc682c7bac2cdc000a6d21a3c344"
ebuild: DIST foo-1.2.tar.gz 48210 BLAKE2B f949ff4fda57f8e45104df645ec8d782f34e68e0a1fe82364357e0010db70e93b7a734cde0b31344bb8b239d94a4a7a2bc9c1bbb1c43a85af4e3b00a92a17c94 SHA512 fe3197f9504aee9e97feb2d7370e7f44c69fd0062c9ce94a8912b7a2b8f2b8645559ac6790198ca4a83dd8b75f3e5c6bb6a1fd13fd0cf7bb702ab867c5e8ea59
RPM-GPG-KEY-fedora-41-primary
zig: .hash = "12207156bb8e99584b6d5b4d543a43c3faa578dec6fc9945ac72ca18ede004529a01",
bazel: sha256 = "80ec44efffeebec2fed0552a0f9903ee639ef308801a87af04b57657cdcdcf1b", strip_prefix = "rules_go-0.50.1",
vcpkg: SHA512 352c8933de0a55f97326a82dca219e9eb44523f437bf396b9c2e298f8679b7d50652900700749dc46f9c531aef99748ce777fa84e97689281b750672d00375dc
cmake: URL_HASH SHA256=7e04cc6524122935b78ed84ce586814196adbb17c77c1d17cabf789c1a270f0f
swift: .binaryTarget(name: "X", url: "https://example.com/x.zip", checksum: "fd6e68322b8434e3ca45e699b4c09ecfa39406dc8511c5ffef88d2da1e2a4b1f")
unity: guid: f34e69f38cb7f55732a7d97a856894eb
xcode: 7A1A445527CFE0CC22F3FD86 /* AppDelegate.swift in Sources */ = {isa = PBXBuildFile; fileRef = 2FD7F01CB704685AA284733F /* AppDelegate.swift */; };
ProjectGuid {549ba0a5-7bfe-43e6-9daf-94f8b21432b0}
docker history: <missing>      3 weeks ago   /bin/sh -c #(nop)  CMD ["bash"]
REPO DIGEST d0c76c03955fa1d5a2935ad896336483e14dd908cd10ff6ad1d9a3a25bb7dc78
helm: digest: sha256:7e6d0e7e1cc12a6930511e4d2c56e9cd60c67555757100813eae3380fb0dc1d1
generated: "2026-11-14T08:12:31.402918273Z"
oci-layout: "digest": "sha256:0eed6edaa64e418b5a0404da3ecae2b508ba5e0b1a15f7c3c58a83e71212185e", "size": 7143
lxc: fingerprint: 2a35b8317d35e43e2ef5742a6d10edac36fccfe32adae69d5f1d8244d6dd562e
vm uuid d77d4b61-a23c-4753-8c23-b037cca5fab5 mac 52:54:00:6b:3c:58
zfs snapshot tank/home@2026-11-14
restic: snapshot c4804b37 saved
borg: Archive fingerprint: d498dee08b406ab31359c74979c301d6697f1fb990f9d4397d8189545537dc5f
rclone: hash sums: md5 054e547817dbc11d8f8d829996572f39, crc32 a7847d37
rsnapshot: /mnt/backup/daily.0/etc/passwd
tar: ./etc/shadow: Cannot open: Permission denied
auditd: key="passwd_changes"
selinux: avc:  denied  { read } for  pid=812 comm="httpd" name="secrets.yml"
postgres: duplicate key value violates unique constraint "users_email_key"
mysql: Access denied for user 'root'@'localhost' (using password: NO)
redis: NOAUTH Authentication required.
mongo: Authentication failed., mechanism: SCRAM-SHA-256
ldap: Invalid credentials (49)
kerberos: Preauthentication failed while getting initial credentials
vault: * permission denied; namespace admin/
consul: ACL not found
oauth: error=invalid_grant&error_description=Token+has+been+revoked
jwt: TokenExpiredError: jwt expired
csrf: Can't verify CSRF token authenticity.
git: fatal: Authentication failed for 'https://github.com/owner/repo.git/'
ssh: Permission denied (publickey,password).
gpg: encrypted with rsa4096 key, ID 90622845125EB171, created 2021-05-17
openssl: Verify return code: 0 (ok), Session-ID-ctx:
tls: cipher TLS_AES_256_GCM_SHA384, group X25519, peer signature RSA-PSS
wireshark: 0020   02 01 c3 50 00 16 4f 2a 1c 00 00 00 00 00 80 02   ...P..O*........
gdb: 0x7fffffffe3f0:	0x41	0x42	0x43	0x00	0x12	0x34	0x56	0x78
strace: read(3, "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0>\0\1\0\0\0", 832) = 832
valgrind: ==21934== 48 bytes in 1 blocks are definitely lost in loss record 3 of 7
asan: 0x602000000010 is located 0 bytes inside of 4-byte region
eeprom: 00: 12 34 56 78 90 12 34 56 78 90 12 34 56 78 90 12
i2c 50: 4e 56 4d 00 01 02 03 04 05 06 07 08 09 10 11 12
srec S1130000285F245F2212226A000424290008237C2A
uart 55 AA 03 00 00 00 01 04
canbus can0  123   [8]  11 22 33 44 55 66 77 88
barcode 4 006381 333931
luhn example 7992739871 has check digit 3
imei TAC 35-209900
vin example 1M8GDM9AXKP042788
isin US0378331005, cusip 037833100, sedol 2046251
bic DEUTDEFF500, clearing 70070010
tracking number 1Z 999 AA1 01 2345 6784
smiles CC(=O)OC1=CC=CC=C1C(=O)O
protein MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQ
fasta >sp|P69905|HBA_HUMAN Hemoglobin subunit alpha
fastq @SEQ_ID 1:N:0:ATCACG length=36
midi 90 3C 40 80 3C 40
go sgf (;GM[1]FF[4]SZ[19];B[qd];W[dc];B[pq])
pgn [FEN "rnbqkbnr/pp1ppppp/8/2p5/4P3/5N2/PPPP1PPP/RNBQKB1R b KQkq - 1 2"]
uci info depth 20 score cp 31 nodes 1829310 pv e2e4 e7e5 g1f3
bridge N:AKQ2.J97.T4.K982 J7.AQ3.K982.T543
knots 4_1 5_2, kerning AV -80
wkt POLYGON((13.1 52.3, 13.8 52.3, 13.8 52.7, 13.1 52.7, 13.1 52.3))
nmea $GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47
metar EDDB 140820Z 24008KT 9999 FEW035 12/07 Q1018
tle 1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927
color #00112233 rgba(1, 2, 3, 0.4) oklch(0.7 0.1 200)
unicode \u4e2d\u6587 \u{1F511} U+1F510
regex ^(?=.*[A-Z])(?=.*\d).{12,}$
password regex: ^[A-Za-z0-9!@#$%^&*]{8,64}$
cron 0 3 * * 1-5 /usr/local/bin/rotate-keys
glob secrets/**/*.enc.yaml
.gitignore: *.pem !public.pem .env.* secrets/
CODEOWNERS: /auth/ @org/security
labels: kind/secret, area/auth
PATH=/usr/local/bin:/usr/bin PWD=/srv/app OLDPWD=/srv
HISTIGNORE=*password*
TOKEN_URI=https://oauth2.example.com/token
KEY_ALGORITHM=EdDSA
SECRET_BACKEND=file
PASSWORD_MIN_LENGTH=12
TOKENIZERS_PARALLELISM=false
API_KEY_HEADER=X-Api-Key
AUTH_MODE=oidc
SESSION_COOKIE_SECURE=True
password_reset_timeout: 259200
token_lifetime = 15m
keyspace=orders, partition_key=customer_id
primary_key=id foreign_key=order_id
sort_key: created_at
api_key_required: false
token_type=bearer
auth: none
auth = "basic"
secret: false
credentials: include
credentials = "same-origin"
passwordless: true
keyboard-layout: de
pass_filenames: false
bypass: "never"
compass: "north"
passive: true
surname=Passfield
secretary: Anna Lind
Tokenizer: "cl100k_base"
keynote: "Monday 9:00"
Write to sales@example.net by Friday.
Mail for webmaster@example.com bounces.
name@example.com, Name <name@example.com>
test+tag@example.com
"user": "user1@example.test"
cn=admin,dc=example,dc=com
mailto:info@example.org?subject=Hi
ops@db1.internal, root@pve.lan
Dial 555-0155 for the demo line.
Fax: +1 (415) 555-0110
Use 6011 0009 9013 9424 or 3530 1113 3330 0000 in test mode.
Use the card number 4000 0000 0000 0069 for an expired card.
The PIN must have four digits.
The one-time code was sent to your phone.
A recovery code can be used once.
Enter the code from the app.
The password is stored as a hash.
The password was reset by the administrator.
The token is valid for one hour.
The secret is rotated by a job.
Password rules: twelve characters, one digit.
Password: at least 12 characters
Passwords must not contain your name.
Bitte ändern Sie Ihr Passwort regelmäßig.
Das Passwort wurde zurückgesetzt.
Der Schlüssel liegt beim Hausmeister.
Passwort: mindestens 12 Zeichen
Votre mot de passe expire bientôt.
Le code PIN comporte quatre chiffres.
Le mot de passe sera demandé à chaque connexion.
La contraseña es demasiado corta.
El token ha caducado.
La contraseña se guarda cifrada.
La password è obbligatoria.
La password sarà richiesta al prossimo accesso.
Het wachtwoord is gewijzigd.
Het wachtwoord wordt versleuteld opgeslagen.
A senha expirou.
A senha deve conter letras e números.
"""
PROGRAMS_AND_POINTERS = r"""
#define ERR_WRONG_PASSPHRASE 0x8009002D
Het wachtwoord is hoofdlettergevoelig en mag geen spaties bevatten.
nixpkgs.url = "github:NixOS/nixpkgs/eb7ac10781cfee468024b75a029c1a80fa2cfbc3";
pub   rsa4096/8B3E21F07C9D4A65 2021-02-11 [SC]
# requirepass <password>\nprotected-mode yes\ntcp-keepalive 300
smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd
con <- dbConnect(Postgres(), user = "stats", password = Sys.getenv("PGPASS"))
$secret = Read-Host -AsSecureString "Client secret"
Passwort: siehe Umschlag im Tresor. Bitte nicht per Mail schicken.
Wie lautet das WLAN-Passwort im Besprechungsraum?
Mot de passe : communiqué par téléphone uniquement.
La parola chiave "static" indica che la variabile conserva il valore.
User        Last password change   MFA   Status\nbackup      2024-01-08             no    active
"alg": "SHA-256",\n  "content": "c8232dd3cdaed5356e0f716d285e4b40b932ac434100fe9b7e0e8e935b9e6246"
    'nslib',\n    'PWD',\n    'SCI',
        'OPTIONAL', 'PARAMETER', 'PASS', 'PAUSE', 'POINTER',
numpy/typing/tests/data/pass/dtype.py,sha256=YDuYAb0oKoJc9eOnKJuoPfLbIKOgEdE04_CYxRS4U5I,1070
You need to pass a `model_id` so that the deck can be tracked.
if we explicitly pass name=None, then that should be respected
the slide that is identified by `slide_id`.
class X509StoreContextError(Exception):  # a secret was wrong
bytes = PyUnicode_AsUTF8AndSize(obj, &size);  // auth
    req.add_unredirected_header("Authorization", auth_header)
userpass += f":{password}"
proxy_basic_auth_encoding: str = "latin-1",
self.token = nextchar
username = password = port = None
if token is Comment.Single:
"zh:165fdc7ac4ad61c2cdd1f095e570a873e1135608ae3b3da1e0dd192a655c442a",
pack-04d0aa8c23ddefba70db5191985311fffa6b672c.idx
Your password is about to expire.
spring.datasource.password=@db.password@
<tr><th>User</th><th>Password</th></tr>\n<tr><td>bob</td><td>siehe Tresor</td></tr>
from ..lib._bedrock_auth import (
User and password that might be provided in the proxy string are decoded.
directory, which is most reliably identified by running
You pass in a `Model`, discussed below
raise TypeError("Plugins can no longer pass a 'func' parameter to watch().")
password\tinclude\t\tsu\nsession\t\toptional\tpam_keyinit.so force revoke
password = password.encode("utf-8")
token = state.push("html_block", "", 0)
51 Franklin St, Fifth Floor, Boston, MA  02110-1301  USA
postgresql\t5432/tcp\tpostgres\t# PostgreSQL Database
License: BSD-3-clause
"""
LISTS = (LOGS_AND_SETTINGS, HEADERS_AND_IDENTIFIERS, TOOLS_AND_SENTENCES, NOTATIONS_AND_SETTINGS, PROGRAMS_AND_POINTERS)
