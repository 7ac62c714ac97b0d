"""Texts with one secret each (between ``[[`` and ``]]``), and innocent lines: both were written before the patterns."""

from __future__ import annotations

import re

FORMS = r'''
config["password"] = "[[tigerLily77]]"
os.environ['SECRET'] = '[[marzipan]]'
account.setPassword("[[greenfield]]")
{'user': 'bob', 'secret': u'[[hunter2x]]'}
#define WIFI_PASS "[[homesweethome]]"
$s = ConvertTo-SecureString "[[Winter2024!]]" -AsPlainText -Force
ConvertTo-SecureString -String '[[Winter2024!]]' -AsPlainText
password: >-
  [[orangeJuice9]]
db:
  password: |
    [[orange-juice-9]]
{"name":"DB_PASSWORD","value":"[[lavender]]"}
{"value": "[[lavender]]", "name": "DB_PASSWORD"}
<key>password</key>
<string>[[lavender12]]</string>
user,password,city
bob,[[kestrel55]],Rome
| user | password |
|---|---|
| bob | [[kestrel]] |
user	pwd	host
bob	[[kestrel!]]	h1
NAME      PASSWORD      HOST
bob       [[falcon9x]]      h1
+------+----------+
| user | password |
+------+----------+
| bob  | [[falcon]]   |
+------+----------+
INSERT INTO users (name, password) VALUES ('bob', '[[sparrow]]');
INSERT INTO users (name, password, age) VALUES ('bob', MD5('[[sparrow]]'), 3);
UPDATE users SET password = '[[sparrow]]' WHERE id = 1;
CREATE ROLE bob LOGIN PASSWORD '[[sparrow]]';
CREATE LOGIN bob WITH PASSWORD = N'[[sparrow]]';
SET PASSWORD FOR bob = PASSWORD('[[sparrow]]');
ALTER USER scott IDENTIFIED BY [[sparrow]];
CREATE USER 'bob'@'%' IDENTIFIED BY '[[sparrow]]';
GRANT ALL ON *.* TO 'bob'@'%' IDENTIFIED BY "[[sparrow]]";
EXEC sp_addlogin 'bob', '[[sparrow]]', 'master';
PRAGMA key = '[[sparrow]]';
SELECT pgp_sym_encrypt('data', '[[sparrow]]');
SELECT crypt('[[sparrow]]', gen_salt('bf'));
ENV MYSQL_ROOT_PASSWORD [[sparrow]]
ENV MYSQL_ROOT_PASSWORD=[[sparrow]]
ARG DB_PASSWORD=[[sparrow]]
bindpw [[sparrow]]
requirepass [[sparrow]]
masterauth [[sparrow]]
db.example.com:5432:shop:bob:[[sparrow]]
*:*:*:postgres:[[sparrow]]
scott/[[tiger]]@ORCL
sqlplus scott/[[tiger]]@//db:1521/XE
sqlplus system/[[manager]]
jdbc:oracle:thin:scott/[[tiger]]@h:1521:x
jdbc:mysql://h/db?user=bob&password=[[tiger]]
jdbc:sqlserver://h;user=bob;password=[[tiger]];encrypt=true
Server=h;Database=d;User Id=bob;Password=[[tiger]];
DRIVER={SQL Server};SERVER=h;UID=bob;PWD=[[tiger]]
host=h port=5432 user=bob password=[[tiger]] dbname=d
echo [[tiger]] | sudo -S apt update
echo '[[tiger]]' | sudo -S ls
sudo -S ls <<< "[[tiger]]"
echo "bob:[[tiger]]" | chpasswd
echo -e "[[tiger]]\n[[tiger]]" | passwd bob
keytool -genkey -storepass [[tiger]] -alias a
keytool -keypass [[tiger]]
openssl enc -aes-256-cbc -k [[tiger]] -in a
openssl pkcs12 -passout pass:[[tiger]]
smbclient //h/s -U bob%[[tiger]]
lftp -u bob,[[tiger]] ftp.example.com
http -a bob:[[tiger]] example.com
curl -u bob:[[p@ss:w/rd]] https://h
curl --user 'bob:[[tiger]]' https://h
curl -ubob:[[tiger]] https://h
net use x: \\h\s /user:bob [[tiger]]
net user bob [[tiger]] /add
xfreerdp /u:bob /p:[[tiger]] /v:h
aws configure set aws_secret_access_key [[abcdEFGH1234]]
npm config set //r.io/:_authToken [[abcd1234efgh]]
//registry.npmjs.org/:_authToken=[[abcd1234efgh]]
setx TOKEN [[abcd1234]]
setenv DB_PASSWORD [[sparrow]]
set -gx DB_PASSWORD [[sparrow]]
export PGPASSWORD=[[sparrow]]
$env:DB_PASSWORD = "[[sparrow]]"
password '[[sparrow]]' rejected for user bob
login failed for bob with password [[sparrow7]]
das Passwort lautet [[sperling]]
Das neue Passwort ist [[sperling]].
le mot de passe est [[moineau]]
la contraseña es [[gorrion]]
la password è [[passero]]
a senha é [[pardal]]
het wachtwoord is [[mus-vogel]]
the password is [[swordfish]]
The wifi password is [[swordfish]] and the network is home.
my pin is [[4821]]
PIN: [[4821]]
Your verification code is [[482913]]
[[482913]] is your login code
Use [[482913]] as your one-time code
Recovery codes: [[a8f3-k2m9]]
seed phrase: [[abandon ability able about above absent absorb abstract absurd abuse access accident]]
app password: [[abcd efgh ijkl mnop]]
SCW_SECRET_KEY=[[11111111-2222-3333-4444-555555555555]]
call [[8-912-345-67-89]]
machine h login bob password [[tiger]]
[client]
user=bob
password=[[tiger]]
network={
 ssid="x"
 psk="[[tiger lily]]"
}
bob:[[$apr1$x1y2z3$abcdefghijklmnopqrstu1]]
<user username="bob" password="[[tiger]]"/>
<password>[[tiger]]</password>
<property name="password">[[tiger]]</property>
<property name="password" value="[[tiger]]"/>
<add key="DbPassword" value="[[tiger]]" />
<input type="password" value="[[tiger]]">
<password><![CDATA[[[tiger]]]]></password>
variable "db_password" {
  type = string
  default = "[[tiger]]"
}
apiVersion: v1
kind: Secret
data:
  password: [[aHVudGVyMg==]]
kind: Secret
data:
  db: [[aHVudGVyMg==]]
kind: Secret
stringData:
  conn: [[tiger]]
ansible_ssh_pass=[[tiger]]
h1 ansible_user=bob ansible_password=[[tiger]]
mysql -uroot -p[[tiger]] db
mysql --password=[[tiger]]
psql postgresql://bob:[[tiger]]@h/db
mongodb+srv://bob:[[tiger]]@c.example.net/x
redis://:[[tiger]]@h:6379
amqp://bob:[[tiger]]@h
redis-cli -a [[tiger]] ping
AUTH [[tiger12]]
mongo -u bob -p [[tiger]] h
ldapsearch -D cn=a -w [[tiger]] -b dc=x
echo [[tiger]] | kinit bob
7z a -p[[tiger]] x.7z f
zip -P [[tiger]] x.zip f
gpg --batch --passphrase [[tiger]] -d f
wget --user=bob --password=[[tiger]] h
az login -u bob -p [[tiger]]
htpasswd -b f bob [[tiger]]
htpasswd -nb bob [[tiger]]
expect "assword:"
send "[[tiger]]\r"
docker login -u bob -p [[tiger]]
sshpass -p[[tiger]] ssh h
sshpass -p '[[tiger]]' ssh h
snmpwalk -v3 -u bob -A [[tiger123]] -X [[tiger456]] h
ipmitool -U bob -P [[tiger]] h
rabbitmqctl add_user bob [[tiger]]
mosquitto_pub -u bob -P [[tiger]] -t x
mysqladmin -u root password '[[tiger]]'
useradd -p [[tiger9]] bob
vncpasswd -f <<< [[tiger9]]
Authorization: Basic [[Ym9iOnRpZ2Vy]]
Authorization: Bearer [[tigertigertiger]]
X-Api-Key: [[tigertiger]]
Cookie: session=[[tigertigertiger]]
let password: &str = "[[tiger]]";
String password = "[[tiger]]";
const char *password = "[[tiger]]";
char wifi_password[] = "[[tiger]]";
var dbPassword string = "[[tiger]]"
Dim password As String = "[[tiger]]"
password <- "[[tiger]]"
(setq my-password "[[tiger]]")
(def password "[[tiger]]")
{:user "bob" :password "[[tiger]]"}
my $password = '[[tiger]]';
password := "[[tiger]]"
'password' => '[[tiger]]',
:password => "[[tiger]]"
password: '[[tiger]]',
@password = "[[tiger]]"
static final String PASSWORD = "[[tiger]]";
private string _password = @"[[tiger]]";
NSString *password = @"[[tiger]]";
val password = "[[tiger]]"
l_password VARCHAR2(20) := '[[tiger]]';
set password "[[tiger]]"
password = """[[tiger]]"""
new NetworkCredential("bob", "[[tiger]]")
requests.get(u, auth=("bob", "[[tiger]]"))
HTTPBasicAuth('bob', '[[tiger]]')
ftp.login("bob", "[[tiger]]")
DriverManager.getConnection(url, "bob", "[[tiger]]")
new mysqli("localhost", "root", "[[tiger]]", "db")
mysqli_connect('localhost', 'root', '[[tiger]]', 'db')
req.SetBasicAuth("bob", "[[tiger]]")
db.createUser({user: "bob", pwd: "[[tiger]]"})
db.auth("bob", "[[tiger]]")
props.put("password", "[[tiger]]");
props.setProperty("db.password", "[[tiger]]");
os.getenv("DB_PASSWORD", "[[tiger]]")
process.env.DB_PASSWORD || '[[tiger]]'
${DB_PASSWORD:-[[tiger]]}
driver.find_element(By.ID, "password").send_keys("[[tiger]]")
page.fill("#password", "[[tiger]]")
cy.get('#password').type('[[tiger]]')
fill_in "Password", with: "[[tiger]]"
if (password == "[[tiger]]") {
bcrypt.hashpw(b"[[tiger]]", salt)
password_hash('[[tiger]]', PASSWORD_DEFAULT)
user.set_password("[[tiger]]")
username bob password 0 [[tiger]]
enable secret [[tiger]]
snmp-server community [[tigers]] RO
crypto isakmp key [[tigers1]] address 1.2.3.4
User: bob / Password: [[tiger]]
login: bob / [[tiger99]]
user bob, pass [[tiger99]]
credentials are bob / [[tiger99]]
pw: [[tiger]]
Passwort: [[tiger99]]
Kennwort=[[tiger]]
log in with bob and [[Tiger99!]]
The passphrase is "[[correct horse battery staple]]"
passphrase: [[correct horse battery staple]]
https://h/login?user=bob&pwd=[[tiger]]
username=bob&password=[[tiger]]&x=1
-d '{"password":"[[tiger]]"}'
{\"password\":\"[[tiger]]\"}
spring.datasource.password=[[tiger]]
password = [[tiger]]
DB_PASS=[[p@ss,w0rd;x]]
DefaultEndpointsProtocol=https;AccountName=a;AccountKey=[[abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz12345678==]];EndpointSuffix=core.windows.net
SharedAccessKey=[[abcdefghijklmnopqrstuvwxyz1234567890abcdefg=]]
https://a.blob.core.windows.net/c?sv=2020&sig=[[abc%2Bdefghijklmnopqrstuvwxyz123456789%3D]]
'''
"""A form begins at a line of its own, or after the lines without a secret above it."""

INNOCENT = r"""
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  file.txt
d41d8cd98f00b204e9800998ecf8427e  empty.bin
da39a3ee5e6b4b0d3255bfef95601890afd80709 *dist/app.tar.gz
SHA256 (file.iso) = 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk3b9mR1f9Qw0y5uQ2Zt8Yx7bV4c6N2m1K0jH9gF8dS bob@host
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7v0y5uQ2Zt8Yx7bV4c6N2m1K0jH9gF8dSa1b2c3d4e5f6g7h8 me
-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n-----END CERTIFICATE-----
-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo\n-----END PUBLIC KEY-----
<img src="data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==">
PWD=/usr/local
OLDPWD=/home/bob
PWD=/home/bob/work
PASS: test_login
PASS tests/auth.test.js
PASSED tests/test_password.py::test_reset
FAIL: test_password_reset (auth.tests)
access_key: read-only
image@2x.png
icon@3x.png 120x120
@bob@mastodon.social
Follow me at @alice@hachyderm.io
qwen2.5-0.5b-instruct-q4_k_m.gguf
Llama-3.2-3B-Instruct-Q4_K_M.gguf
/nix/store/5rm3b1x0lvrxq2l7f4p0z1hwqg1l3k9c-python3-3.11.6/bin/python3
score 0123456789
01 02 03 04 05 06
10 20 30 40 50 60 70 80
password: <password>
password: ${PASSWORD}
PASSWORD=$PW
DB_PASSWORD=changeme
api_key: xxxxxxxx
password: null
token: true
password = None
password = os.environ["DB_PASSWORD"]
password = getpass.getpass()
password = getpass("Password: ")
passwd = input("Enter password: ")
password=args.password
password: config.db.password
password = self._read_password()
def set_password(self, password): pass
def login(user, password): return check(user, password)
if not password: raise ValueError("password required")
password_length: 12
min_password_length = 8
max_tokens: 4096
token_type: bearer
tokenizer: gpt2
tokens: 128
secretName: app-secrets
secretKeyRef: {name: db, key: password}
password_file: /run/secrets/db_password
password_reset_url: https://example.com/reset
public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBq3b9mR1f9Qw0y5uQ2Zt8Yx7bV4c6N2m1K0jH9gF8dT
primary_key: id
foreign_key: user_id
The password must be at least 8 characters.
The password is required.
Your password has expired.
Forgot your password?
Password reset email sent to user.
The password is wrong.
Password is case-sensitive.
Passwords are hashed with bcrypt.
Enter your password to continue.
password and username are mandatory fields
Never share your password with anyone.
The token is invalid or has expired.
The secret is to add salt.
The key is under the mat.
Das Passwort muss mindestens acht Zeichen haben.
Das Passwort ist falsch.
Le mot de passe est obligatoire.
La contraseña es incorrecta.
A senha é obrigatória.
Het wachtwoord is verplicht.
La password è errata.
<input type="password" name="password" placeholder="Password">
<label for="password">Password</label>
<th>Password</th>
type="password" autocomplete="current-password"
password VARCHAR(255) NOT NULL
password TEXT
`password` varchar(255) DEFAULT NULL
password: string;
password: str = Field(min_length=8)
String password;
private String password;
const { password } = req.body;
this.password = password;
user.password = hash(password)
assert user.check_password(raw)
--password-stdin
--password-file FILE
-p 8080:80
mkdir -p src/lib
ssh -p 2222 host
nmap -p 1-1000 host
docker run -p 127.0.0.1:80:8080 nginx
git commit -m "fix password reset"
git push -u origin main
curl -u "$USER:$PASS" https://h
cp -u src dest
pip install -U requests
ls -a /tmp
grep -w error log.txt
ISBN 978-3-16-148410-0
ISBN-10: 0-306-40615-2
order 4111111111111112 shipped
Ticket 8-123-4
52.520008, 13.404954
lat: 48.8566, lon: 2.3522
version 1.10.2.33
Python 3.11.7 (main, Dec  8 2023, 18:56:58) [GCC 11.4.0]
commit 9fceb02d0ae598e95dc970b74767f19372d61af8
index 83db48f..bf2a9c3 100644
550e8400-e29b-41d4-a716-446655440000
trace_id=4bf92f3577b34da6a3ce929d0e0e4736
req-7f3c9a1e-12ab-4cde-9f01-23456789abcd
ETag: "33a64df551425fcc55e4d42a148795d9f25f89d4"
sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==
"integrity": "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
h1:p3ZgV8nXtLB4Cj6kQf8rP3yN5T4iK2mM1oA7bE9xW0s=
2024-01-02T10:30:00.123Z INFO started in 1234567890 ns
1700000000 epoch seconds
10.0.0.1 - - [10/Oct/2023:13:55:36 +0000] "GET /login HTTP/1.1" 200 2326
Accepted publickey for bob from 10.0.0.5 port 51234 ssh2: ED25519 SHA256:Zk3b9mR1f9Qw0y5uQ2Zt8Yx7bV4c6N2m1K0jH9gF8dS
Failed password for root from 10.0.0.1 port 22 ssh2
Failed password for invalid user admin from 10.0.0.1 port 4242 ssh2
authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.0.0.1
uses: actions/checkout@v4
uses: actions/setup-python@v5
npm install @scope/pkg@1.2.3
image: docker.io/library/nginx@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
lodash@4.17.21
go.uber.org/zap v1.26.0
git@github.com:foo/bar.git
https://example.com:8080/path@2x.png
http://localhost:3000/login?next=/home
postgres://localhost/db
redis://localhost:6379/0
PATH=/usr/local/bin:/usr/bin:/bin
HOME=/home/bob
LANG=en_US.UTF-8
NODE_ENV=production
SSH_AUTH_SOCK=/tmp/ssh-abc/agent.1234
DEBUG=true
PORT=8080
KEYBOARD=us
TOKENIZERS_PARALLELISM=false
AUTH_TYPE=basic
PASSWORD_MIN_LENGTH=12
SECRET_BACKEND=vault
GPG_TTY=/dev/pts/0
AWS_REGION=eu-central-1
auth: basic
auth_mode: oauth2
pin: 13
pin = 5
keys: [a, b, c]
key: value
key = "name"
sort_key = "created_at"
"key": "username"
cache_key = f"user:{id}"
key=lambda x: x[1]
shift+ctrl+p
passengers: 42
compass: north
bypass: true
passive: true
secretary: Anna
authors: Bob, Carol
token = next(tokens)
token: tokens[i + 1]
for token in tokens:
"token": "the"
test_password_is_required
it('rejects a wrong password', () => {
describe("password reset", () => {
class PasswordResetForm(forms.Form):
from django.contrib.auth.password_validation import validate_password
import { hashPassword } from './crypto'
get_password_hash(password)
bcrypt.checkpw(password, hashed)
SELECT password FROM users WHERE id = ?
SELECT id, password FROM users
INSERT INTO users (name, password) VALUES (?, ?)
INSERT INTO users (name, password) VALUES (:name, :password)
ALTER TABLE users ADD COLUMN password TEXT
CREATE TABLE users (id INT, password VARCHAR(60))
| password | The password of the user |
| `password` | string | required |
| option | password | description |
| user | password |
user,password
Username and password are sent over TLS.
Use a passphrase of four words.
Choose a strong password.
password manager
one-time passwords
reset code expired
Enter the code we sent you
error code: 404
exit code 1
status code: 200
code 1045
zip code: 90210
HTTP 401 Unauthorized: invalid credentials
ERROR 1045 (28000): Access denied for user 'root'@'localhost' (using password: YES)
psql: FATAL: password authentication failed for user "bob"
MD5, SHA-1 and SHA-256
RGB(12, 34, 56)
#a1b2c3
call me maybe at 10
Phone model 555-0100-X
12,345,678 people
Invoice 2024-000123
part no. 123-456-789
IPv4 192.168.1.1/24
MAC 00:1A:2B:3C:4D:5E
AA:BB:CC:DD:EE:FF
fingerprint 43:51:43:a1:b5:fc:8b:b7:0a:3a:a9:b1:0f:66:73:a8
UUID=3e6be9de-8139-11d1-9106-a43f08d823a6 /boot ext4 defaults 0 2
echo hello | sudo tee /etc/motd
echo done | mail bob
sudo -S true
net use
openssl enc -aes-256-cbc -in a -out b
keytool -list -keystore k.jks
chmod 600 secret.key
cat ~/.ssh/id_rsa.pub
vault kv get secret/app
aws secretsmanager get-secret-value --secret-id app
gh secret set TOKEN < token.txt
export TOKEN=$(cat token.txt)
TOKEN="$(gcloud auth print-access-token)"
Authorization: Bearer $TOKEN
Authorization: Basic <credentials>
Authorization: Bearer {token}
WWW-Authenticate: Basic realm="Restricted"
Set-Cookie: theme=dark; Path=/
cookie: lang=en
getUserAccountDetailsV2FromDatabaseById
com.example.security.PasswordEncoderFactories
AbstractUsernamePasswordAuthenticationToken
x = password if password else default
print("password:", "*" * 8)
password="***"
password = "********"
"password": "<redacted>"
"password": "{{ db_password }}"
password: !vault |
password: "%s"
logger.info("password changed for user %s", user)
throw new Error("password is too short")
raise ValueError("invalid token")
const PASSWORD_REGEX = /^(?=.*[A-Z]).{8,}$/
password.length >= 8
len(password) < 8
strlen(password)
"passwordPolicy": "strict"
"authType": "none"
Die Sonne scheint, und das Passwort bleibt geheim.
"""

SECOND_FORMS = r"""
credentials:
  - username: bob
    password: "[[oyster]]"
app.config['SECRET_KEY'] = '[[marigold-field]]'
conn = psycopg2.connect(host="h", user="bob", password="[[oyster]]")
client = Client("bob", "[[oyster42]]")
with pysftp.Connection('h', username='bob', password='[[oyster]]') as sftp:
ssh.connect("h", 22, "bob", "[[oyster42]]")
imap.login('bob@example.com', '[[oyster]]')
server.login(user, "[[oyster]]")
Net::SMTP.start('h', 25, 'x', 'bob', '[[oyster42]]', :login)
Rails.application.credentials.password = "[[oyster]]"
<connectionStrings><add name="x" connectionString="Data Source=h;User ID=sa;Password=[[oyster]]"/></connectionStrings>
<wsse:Password Type="PasswordText">[[oyster]]</wsse:Password>
<input name="pwd" type="hidden" value="[[oyster]]"/>
<PassWord value='[[oyster]]'/>
vars:
  mysql_root_password: [[oyster]]
ansible_become_pass: [[oyster]]
become_password="[[oyster]]"
resource "aws_db_instance" "x" {
  username = "bob"
  password = "[[oyster]]"
}
MYSQL_PASSWORD: [[oyster]]
      - POSTGRES_PASSWORD=[[oyster]]
docker run -e MYSQL_ROOT_PASSWORD=[[oyster]] mysql
docker run --env "DB_PASS=[[oyster]]" x
kubectl create secret generic x --from-literal=password=[[oyster]]
helm install x --set auth.password=[[oyster]]
helm install x --set global.postgresql.auth.postgresPassword="[[oyster]]"
PGPASSWORD='[[oyster]]' psql -h h
mysql -u root --password='[[oyster]]'
mongosh "mongodb://bob:[[oyster]]@h:27017/x"
influx -username bob -password [[oyster]]
cqlsh -u bob -p [[oyster]] h
clickhouse-client --password [[oyster]]
bcp db.t out f -U sa -P [[oyster]]
sqlcmd -S h -U sa -P "[[oyster]]"
rclone config create x webdav user bob pass [[oyster]]
restic -r x --password-command "echo [[oyster]]" backup
vault kv put secret/x password=[[oyster]]
vault login [[s.abcdefgh1234]]
nmcli dev wifi connect Home password [[oyster]]
nmcli d wifi connect "Home" password "[[oyster]]"
iwconfig wlan0 key s:[[oyster]]
wpa_passphrase home [[oysterbay]]
netsh wlan set profileparameter name=x keyMaterial=[[oyster]]
schtasks /create /tn x /ru bob /rp [[oyster]]
psexec \\h -u bob -p [[oyster]] cmd
cmdkey /add:h /user:bob /pass:[[oyster]]
runas /user:bob /savecred "pwd:[[oyster]]"
$cred = New-Object System.Management.Automation.PSCredential("bob", (ConvertTo-SecureString "[[oyster]]" -AsPlainText -Force))
New-LocalUser -Name bob -Password (ConvertTo-SecureString '[[oyster]]' -AsPlainText -Force)
gpg --passphrase-fd 0 <<< "[[oyster42]]"
rar a -hp[[oyster]] x.rar f
ssh-keygen -t rsa -N "[[oyster]]" -f k
ssh-keygen -p -P [[oyster1]] -N [[oyster2]] -f k
qpdf --password=[[oyster]] --decrypt a b
pdftk a.pdf input_pw [[oyster]] output b.pdf
openssl req -passout 'pass:[[oyster]]' -out x
git clone https://bob:[[oyster]]@github.com/x/y.git
git remote add o https://oauth2:[[oyster]]@gitlab.com/x
ftp://bob:[[oyster]]@h/x
ldap://cn=admin:[[oyster]]@h
smb://WORK;bob:[[oyster]]@h/s
mssql+pyodbc://sa:[[oyster]]@h/db
sqlalchemy.url = postgresql://bob:[[oyster]]@h/db
rtsp://admin:[[oyster]]@10.0.0.1/stream
proxy = http://bob:[[oyster]]@proxy:3128
jdbc:postgresql://h/db?user=bob&password=[[oyster]]&ssl=true
jdbc:db2://h:50000/x:user=bob;password=[[oyster]];
odbc:Driver=x;Uid=bob;Pwd=[[oyster]]
EXEC sp_addlinkedsrvlogin 'S', 'false', NULL, 'bob', '[[oyster]]'
ALTER LOGIN sa WITH PASSWORD = '[[oyster]]' UNLOCK
CREATE USER bob WITH ENCRYPTED PASSWORD '[[oyster]]'
CREATE USER bob PASSWORD '[[oyster]]' SUPERUSER
CREATE USER bob IDENTIFIED WITH caching_sha2_password BY '[[oyster]]';
CREATE DATABASE LINK x CONNECT TO bob IDENTIFIED BY [[oyster]] USING 'y';
CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'bob', password '[[oyster]]');
SELECT dblink_connect('dbname=x user=bob password=[[oyster]]');
SELECT * FROM users WHERE login='bob' AND pass='[[oyster]]'
MERGE INTO u USING (SELECT 'bob' n, '[[oyster77]]' AS password) s
INSERT INTO users VALUES (1, 'bob', '[[oyster!77]]');
INSERT INTO accounts SET user='bob', passwd='[[oyster]]'
COPY t FROM 's3://x' CREDENTIALS 'aws_access_key_id=x;aws_secret_access_key=[[oyster42shell]]'
id;login;passwort
1;bob;[[oyster]]
"name","email","Password"
"bob","b@x","[[oys,ter]]"
Name | Password
---- | --------
bob | [[oyster]]
Password: [[oyster]]
Passwort: [[oyster]]
Benutzer: bob Passwort: [[oyster]]
User=bob Password=[[oyster]]
My password is [[oyster]], please keep it.
the root password for the server is [[oyster42]]
Your temporary password is: [[oyster]]
Your new password: [[oyster42]]
Hi, the wifi pw is [[oyster]] thanks
Dein Kennwort ist [[auster99]]
Mein Passwort ist [[Auster]]
Le mot de passe du wifi est [[huitre42]]
mot de passe : [[huitre]]
El código PIN es [[4821]]
mi contraseña: [[ostra]]
la tua password è [[ostrica]]
A palavra-passe é [[ostra]]
mijn wachtwoord is [[oester]]
Your code is [[482-913]]
G-[[482913]] is your Google verification code
Your OTP is [[482913]]. Do not share it.
TAN: [[482913]]
CVV [[123]]
backup codes: [[1234 5678]]
mnemonic = "[[abandon ability able about above absent absorb abstract absurd abuse access accident]]"
invalid password "[[oyster]]" for user bob
Login attempt [bob/[[oyster42]]] failed
authentication failed (user=bob, pass=[[oyster]])
POST /login username=bob&password=[[oyster]]
DEBUG password=[[oyster]] user=bob
password mismatch: expected [[oyster42]], got x
sshd: login attempt [root/[[oyster42]]] succeeded
[user:bob][password:[[oyster]]]
bob / [[oyster99!]]
const password = `[[oyster]]`;
const [user, password] = ['bob', '[[oyster42]]'];
var cfg = { pass: '[[oyster]]' };
password: process.env.PW ?? "[[oyster]]",
passwords = ["[[oyster42]]", "x"]
passwd := []byte("[[oyster]]")
let pw = String::from("[[oyster]]");
.password("[[oyster]]")
.withPassword("[[oyster]]")
password = new char[] {"[[oyster]]"};
setenv("DB_PASSWORD", "[[oyster]]", 1);
putenv("DB_PASSWORD=[[oyster]]");
$config['db']['password'] = '[[oyster]]';
$_ENV["PASSWORD"]='[[oyster]]';
$mysqli = new mysqli("h", "u", "[[oyster]]");
define("DB_PASS", "[[oyster]]");
dbPassword <- '[[oyster]]'
(define password "[[oyster]]")
password = 'it''s [[oyster]]'
password = "a\"[[oyster]]"
:password, "[[oyster]]"
config :app, password: "[[oyster]]"
@Value("${db.password:[[oyster]]}")
pass => '[[oyster]]',
$pass = q{[[oyster]]};
local password = "[[oyster]]"
password as string = "[[oyster]]"
Password: "[[oyster]]",
 MOVE "[[oyster]]" TO WS-PASSWORD.
password:"[[oyster]]"
"Password" : "[[oyster]]"
secret_key_base: [[oysterbaysecretbase]]
jwt.secret=[[oyster]]
access_token=[[oyster42abc]]
"apiKey": "[[oysterbay42]]"
api-key: [[oyster-bay-42]]
CLIENT_SECRET="[[oyster]]"
webhook_secret = '[[oyster]]'
encryption_key: '[[oysteroysteroyster]]'
"""
"""A second list, written after the patterns for the first one."""

SECOND_INNOCENT = r"""
password_hash_algorithm = "argon2id"
password_confirmation: must match
PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_USER_MODEL = "accounts.User"
"password": { "type": "string", "minLength": 8 }
- name: password
  in: query
password=password
passwd: files systemd
shadow: files
PasswordAuthentication no
PermitRootLogin prohibit-password
PasswordAuthentication yes
pam_unix(sshd:auth): authentication failure; user=bob
session opened for user root by (uid=0)
auth.log rotated
secret/data/app
kubectl get secret app -o yaml
kubectl create secret generic app --from-file=./a.txt
key: "value"
token = tokenizer.decode(ids)
tokens_per_second: 42.5
"completion_tokens": 128
EOS token: </s>
pad_token = tokenizer.eos_token
bos_token: "<s>"
Unexpected token } in JSON at position 42
SyntaxError: Unexpected token 'export'
CSRF token missing or incorrect.
csrf_token()
{% csrf_token %}
<meta name="csrf-token" content="{{ csrf_token() }}">
secret santa is on friday
The secret of good bread is time.
keyboard: de
monkey: banana
Pinned: 3 messages
spinning up
pin-project = "1.1"
shipping pin code: required
Enter PIN:
PIN code required
Please enter the 6-digit code
Your code will arrive shortly.
code: 404
errorCode: 1045
country code: 0049
postcode 12345
area code 212
promo code: SUMMER
auth0: enabled
oauth2-proxy v7.4.0
author: Bob Smith
authority: example.com
passport: required
password is required
password is too short
password must not be empty
the password was changed yesterday
the password field is hidden
my password is strong enough
I forgot my password again
Which password do you mean?
Change the password as soon as possible.
password policies are described below
passwords do not match
Password changed successfully
Reset password link: https://example.com/r
das Passwort wurde geändert
Passwort vergessen?
Bitte geben Sie Ihr Passwort ein.
mot de passe oublié
Le mot de passe doit contenir huit caractères.
olvidé mi contraseña
La contraseña debe tener ocho caracteres.
password dimenticata
esqueci minha senha
wachtwoord vergeten
getPassword()
user.getPassword().equals(other)
const [password, setPassword] = useState("")
onChange={e => setPassword(e.target.value)}
password: z.string().min(8)
password: Joi.string().required()
password = models.CharField(max_length=128)
password = forms.CharField(widget=forms.PasswordInput)
password = serializers.CharField(write_only=True)
password = StringField("Password", validators=[DataRequired()])
password = Column(String(60), nullable=False)
t.string "password_digest"
has_secure_password
validates :password, presence: true
@NotNull private String password;
expect(password).toBe(undefined)
raise AuthenticationError("invalid password")
echo "Password: "
read -s -p "Password: " PASS
read -rsp 'Enter password: ' pw
stty -echo; read password
password=$(pass show db/prod)
password="$(cat /run/secrets/pw)"
export PASSWORD=`cat f`
mysql -u root -p
mysql -u root -p shop < dump.sql
psql -U bob -W
ssh -i ~/.ssh/id_rsa bob@h
ssh-keygen -t ed25519 -C "bob@laptop"
scp -P 2222 a b
tar -xzf a.tar.gz
curl -H "Authorization: Bearer $TOKEN" https://h
curl -u bob https://h
docker login -u bob --password-stdin
docker run --user 1000:1000 x
chown bob:staff f
chmod u+x f
find . -user bob
grep -rn "password" src/
sed -i 's/password/secret/' f
git log --author=bob
ps -u bob
echo "hello" | tee f
echo 3 | sudo tee /proc/sys/vm/drop_caches
printf "%s\n" a | sort
2026-01-01 12:00:00 ERROR auth: login failed for user bob
ERROR: password authentication failed for user "app"
WARN Invalid password for user admin from 10.0.0.3
INFO password updated for user_id=42
Invalid login: bob
login: Tue Dec  2 10:11 from 10.0.0.1
user: bob
username: alice
login / logout / register
admin / user / guest
users and groups
name,email,city
user,age
| name | token | meaning |
|---|---|---|
| a | b |
Model,Tokens,Score
llama,4096,0.5
key,value
color,red
id,token_count
1,20
1.2.3.4:8080
a:1:b:c:d
src/main.rs:42:13:error: expected token
file.py:10:5:E501:line too long
https://user@example.com/x
https://example.com/?q=password
https://example.com/reset-password?lang=en
https://example.com/a?token=
mailto:
ssh://git@github.com/x/y.git
git+https://github.com/x/y@v1.2
postgresql:///db
image: registry:5000/x/y:1.2
nginx:1.25-alpine
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
md5sum: d41d8cd98f00b204e9800998ecf8427e
"etag": "W/\"5e15153d-120f\""
x-request-id: 4bf92f3577b34da6a3ce929d0e0e4736
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
"_id": "507f1f77bcf86cd799439011"
arn:aws:iam::123456789012:role/x
i-0abcd1234efgh5678
vpc-0a1b2c3d4e5f
pod/app-7d9f8b6c5d-x2x4z
container 3f4e5d6c7b8a
cid bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi
0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed
AS15169
DOI 10.1000/182
PMID: 12345678
ISSN 2049-3630
EAN 4006381333931
IMEI model
VIN WVWZZZ1JZXW000001
GTIN 00012345600012
ORCID 0000-0002-1825-0097
ID 12345-67890
Order #1234567890
2 345 678,90 EUR
1234 5678 9012
+5 points
(12) 34
12.34.56
00:11:22
12/34/5678
48°51'24"N 2°21'03"E
-33.8688, 151.2093
49.2827,-123.1207
EPSG:4326
UTC+02:00
@media (min-width: 600px)
@types/node@20.1.0
foo@bar
user@localhost
logo@2x.webp
key=F5
Ctrl+Alt+Del
U+1F600
\u00e9
#ff00ff
rgba(0,0,0,.5)
secret: false
secrets: inherit
token: ${{ secrets.GITHUB_TOKEN }}
password: ${{ secrets.PW }}
password: !Ref DbPassword
password = var.db_password
password = data.vault.x.value
password: "{{ vault_db_password }}"
password: ENC[AES256]
password = "<your-password>"
PASSWORD=your_password_here
API_KEY=your-api-key
token = "YOUR_TOKEN"
SECRET_KEY = os.getenv("SECRET_KEY")
SECRET_KEY = env("SECRET_KEY")
api_key=os.environ.get("OPENAI_API_KEY")
api_key = config.get("api_key")
"token": null,
"password": "",
password: []
password: *db_password
credentials: include
credentials: 'same-origin'
withCredentials: true
"""

THIRD_FORMS = r"""
[Vertica]
Driver = /opt/vertica/lib64/libverticaodbc.so
UID = dbadmin
PWD = [[m4rble.Quay]]
# /root/.smbcred
username=media
password=[[wAgtail Sill 3]]
Dec 03 10:22:41 mon1 mysqld[811]: [Note] A temporary password is generated for root@localhost: [[i&uQ4k)zWs;P]]
Password for the elastic user (reset with `bin/elasticsearch-reset-password -u elastic`):
  [[7Xw+Rk*e0LqTz_hNvb2C]]
salut, le mot de passe du wifi invité c'est [[Tournesol_904]] (attention à la majuscule)
Die PIN vom Tresor im Lager ist [[740193]], der Zweitschlüssel liegt beim Hausmeister.
Das Passwort fürs Gäste-WLAN ist [[Kirschbaum-88]], bitte nicht weitergeben
hola, la contraseña del router es [[girasol_2291]], avísame si no funciona
ciao, la password del wifi è [[Gelsomino77]] (tutto attaccato)
a senha do wifi é [[jabuticaba9]]
het wachtwoord van de wifi is [[Zonnebloem12]]
the gate code for the north entrance is [[4417]]
Il codice dell'allarme è [[80415]], digitalo entro 30 secondi
le code de l'alarme est [[80416]]
el PIN de la tarjeta de empresa es [[7719]]
de pincode van de kluis is [[5508]]
pw for staging: [[heron-Bay41]]
password? it's [[Plover_221]], all lowercase except the P
GF_SECURITY_ADMIN_PASSWORD=[[quince44tree]]
  mysql_root_password: "[[walnut shell 7]]"
set -x PGPASSWORD [[magpie77x]]
$env:SQL_PASSWORD = '[[Rook!nest2]]'
export RESTIC_PASSWORD='[[a quiet pond]]'
spring.mail.password=[[jackdaw#88]]
javax.net.ssl.keyStorePassword=[[tarn-edge-5]]
java -Djavax.net.ssl.trustStorePassword=[[tarnedge]] -jar app.jar
requirepass [[fen-orchid9]]
masterauth [[fen-orchid8]]
user bob password [[siskin42]] role admin
smtp_sasl_password_maps = static:relay:[[curlew88]]
bindpw: [[dunnock!5]]
  olcRootPW: [[dunnock!6]]
rclone obscure [[linnet-770]]
gpg --batch --passphrase [[linnet771]] -d file.gpg
az sql server create -u adm -p [[Whinchat!9]] -n s1
az vm create --admin-password [[Whinchat!10]] --name vm1
gcloud sql users set-password root --instance=i1 --password=[[stonechat11]]
aws rds modify-db-instance --db-instance-identifier d --master-user-password [[stonechat12]]
doctl databases user create db1 bob --password [[stonechat13]]
kubectl create secret generic db --from-literal=password=[[stonechat14]]
docker run -e POSTGRES_PASSWORD=[[stonechat15]] postgres
psql "host=db user=app password=[[brambling3]] dbname=shop"
mongosh --username app --password [[brambling4]]
Initial admin password: [[d41nK8sWq_2]]
Please use the following password to proceed to installation:
[[0c1f6b9e7d2a4c58b3e6f7a8d9c0b1e2]]
*** Your new GitLab root password is: [[Zq7/mB+2rT=]]
Admin credentials: admin / [[Fieldfare!6]]
generated password for user 'grafana' is [[redwing90]]
WARNING: default password "[[mistle5thrush]]" is still in use
login: ops   password: [[twite-fell]]
wifi: GuestNet / pass: [[sandmartin5]]
<setting name="SmtpPassword"><value>[[houseM4rtin]]</value></setting>
<property name="hibernate.connection.password">[[swiftlet8]]</property>
<Context><Resource name="jdbc/db" username="app" password="[[swiftlet9]]"/></Context>
"MasterUserPassword": "[[nightjar_31]]",
machine git.example.net login bob password [[wryneck2]]
proxy = http://bob:[[wryneck3]]@proxy:3128
    IdentityFile none # sudo password [[hobbyFalcon1]]
set password for 'bob'@'%' = '[[merlin5]]';
ALTER ROLE app WITH PASSWORD '[[merlin6]]';
CREATE USER app FOR LOGIN app WITH PASSWORD = N'[[merlin7]]'
sshpass -p '[[merlin 8]]' ssh bob@h
network={ ssid="home" psk="[[osprey lake]]" }
  "auth": { "username": "bob", "password": "[[osprey9]]" },
curl -H 'X-Vault-Token: [[hvs.9aB3cD4eF5gH6iJ7kL8m]]' https://v
ansible_become_pass: [[goldcrest4]]
ansible_ssh_pass=[[goldcrest5]]
vault_mariadb_root_password: '[[goldcrest6]]'
"""
THIRD_INNOCENT = r"""
mongodb://{{ mongo_user }}:{{ mongo_password }}@mongo:27017/admin
API_KEY=\nAPI_SECRET=\nDATABASE_URL=
/var/lib/docker/overlay2/bb3219dd45d715f8c76523beadf0dede1ec911c94895c8513e26e2c28446c551/merged
89504e470d0a1a0a0000000d49484452
password_confirmation=Conferma password\npassword_mismatch=Le password non coincidono
<string name="prompt_password">Contraseña</string>
<string name="error_incorrect_password">This password is incorrect</string>
<string name="action_sign_in">Anmelden</string>\n<string name="password">Passwort</string>
msgid "Password"\nmsgstr "Passwort"
msgid "Enter your password"\nmsgstr "Saisissez votre mot de passe"
msgid "New password:"\nmsgstr "Neues Passwort:"
msgid "token"\nmsgstr "jeton"
#: src/login.c:42\nmsgid "Wrong password"\nmsgstr "Falsches Passwort"
"password": "Mot de passe",\n"forgotPassword": "Mot de passe oublié ?",
"login.password": "Wachtwoord",
"passwordLabel": "Heslo",
"password_placeholder": "Enter your password",
"errors.password": "doit contenir au moins 8 caractères",
"passwordTooShort": "Das Passwort ist zu kurz",
"confirmPassword": "Bestätigen",
password.label = Contraseña
password.reset.success = Tu contraseña fue cambiada
  password: Hasło\n  forgot: Nie pamiętasz hasła?
  password: Mot de passe\n  remember_me: Se souvenir de moi
<trans-unit id="password"><source>Password</source><target>Lösenord</target></trans-unit>
<data name="PasswordLabel"><value>Passwort</value></data>
"Password" = "Passwort";
"Enter password" = "Passwort eingeben";
"PASSWORD_HINT" = "Mindestens acht Zeichen";
<label for="password">Passwort</label>
<input type="password" name="password" placeholder="Your password" autocomplete="current-password">
<input id="pw" type="password" title="Kennwort eingeben" required>
<TextField label="Password" type="password" fullWidth />
<FormControl name="password" component="PasswordInput" />
const passwordInput = document.querySelector('input[type="password"]');
const [password, setPassword] = useState('');
setPassword(event.target.value);
password = form.cleaned_data["password"]
password = serializers.CharField(write_only=True)
user.set_password(validated_data["password"])
if (!passwordMatches) { return error("Passwords do not match"); }
parser.add_argument("--password", help="password of the database", metavar="PASSWORD")
click.option("--password", prompt=True, hide_input=True)
$password = $_POST['password'];
$table->string('password')->nullable();
t.string :encrypted_password, null: false, default: ""
validates :password, length: { minimum: 8 }
+    password = os.environ["DB_PASSWORD"]
-    password: str = Field(..., min_length=8)
+  password: {{ .Values.auth.password | quote }}
   passwordSecretRef: { name: db-credentials, key: password }
{% if password_reset_enabled %}<a href="{{ url_for('reset') }}">Reset password</a>{% endif %}
Dear {{ name }}, your password will expire on {{ expiry_date }}.
Passwords are stored as salted hashes (see docs/security.md).
The password must contain at least one digit and one capital letter.
The API token is passed in the header Authorization.
If the password is left empty, llm asks for it.
Das Passwort muss mindestens zwölf Zeichen lang sein.
Le mot de passe est enregistré dans le trousseau.
La contraseña debe tener al menos ocho caracteres.
La password deve contenere almeno un numero.
A senha deve ter pelo menos oito caracteres.
Het wachtwoord moet minstens acht tekens bevatten.
Le mot de passe c'est le problème principal ici
the password is stored in: /etc/app/secrets.d
Dec 03 10:22:41 h sshd[811]: Failed password for invalid user admin from 10.0.0.5 port 51122 ssh2
Dec 03 10:22:41 h sshd[811]: Accepted publickey for bob from 10.0.0.5 port 51122 ssh2: ED25519 SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s
pam_unix(sudo:auth): authentication failure; logname=bob uid=1000 euid=0 tty=/dev/pts/1 ruser=bob rhost=  user=bob
FATAL:  password authentication failed for user "app"
ERROR 1045 (28000): Access denied for user 'root'@'localhost' (using password: YES)
level=info msg="password changed" user=bob
I0612 09:00:11.121 token_controller.go:412] "rotated token" secret="default-token-x7k2p" namespace="default"
sudo: a password is required
passwd: password updated successfully
# password for the database, see the vault\nDB_PASSWORD=
DB_PASSWORD=\nDB_HOST=localhost\nDB_PORT=5432
DB_PASSWORD=${DB_PASSWORD:?missing}
password:\nusername: bob
PASSWORD_MIN_LENGTH=12
read -rsp "Password: " password
password="$(pass show mail/work)"
export TOKEN="$(gh auth token)"
password=$(cat "$PASSWORD_FILE")
/run/containerd/io.containerd.runtime.v2.task/k8s.io/2b7c3a1f5e6d4c8b9a0f1e2d3c4b5a69788796a5b4c3d2e1f00112233445566a/rootfs
/sys/fs/cgroup/system.slice/docker-2b7c3a1f5e6d4c8b9a0f1e2d3c4b5a69788796a5b4c3d2e1f00112233445566a.scope/cpu.max
~/.cache/pip/http-v2/9/f/0/3/c/9f03c1d2e4b5a69788796a5b4c3d2e1f00112233445566a77
/home/bob/.cache/thumbnails/normal/0a1b2c3d4e5f60718293a4b5c6d7e8f9.png
ffd8ffe000104a46494600010101004800480000
7f454c4602010100000000000000000003003e00
504b03041400000008002d6f5c5a9bd0a7c1
UPDATE mysql.user SET password_expired = 'N' WHERE user = 'bob';
CREATE TABLE users (id int, password varchar(255) NOT NULL);
SELECT id, password_hash FROM users WHERE email = ?;
COMMENT ON COLUMN users.password IS 'bcrypt hash of the password';
| `password` | string | The password of the account |
| password | The password for basic authentication | `""` |
password: the password of the user (default: empty)
:param password: password of the user
@param token token of the session
* `--token TEXT`: Token to use for authentication
"type": "password", "title": "Password", "format": "password"
  password:\n    type: string\n    format: password
describe("password reset", () => {
it("rejects a password without digits", async () => {
assert password_is_valid("short") is False
raise ValidationError("The password is too common.")
logger.info("Password for %s was changed", user)
log.debug("token refreshed, expires in %d s", ttl)
echo "Enter the password for $USER:"
Password strength: weak
Secret scanning: enabled
Token type: Bearer
Key usage: Digital Signature
Authentication method: password
"""
LISTS = (FORMS, SECOND_FORMS, THIRD_FORMS)
INNOCENT_LISTS = (INNOCENT, SECOND_INNOCENT, THIRD_INNOCENT)
_VALUE = re.compile(r"\[\[(.*?)\]\](?!\])")


def parse(forms: str) -> list[tuple[str, list[str]]]:
    """Return the texts of a list, and the values in each."""
    texts: list[str] = []
    lines: list[str] = []
    for line in forms.strip("\n").split("\n"):
        if texts and not lines and line.startswith(("}", "+--")):  # the end of a block
            texts[-1] += "\n" + line
            continue
        lines.append(line)
        if "[[" in line:
            texts.append("\n".join(lines))
            lines = []
    return [(_VALUE.sub(r"\1", text), _VALUE.findall(text)) for text in texts]
