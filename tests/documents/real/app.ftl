### A file for tests

## Menu

# The name of the product
-brand-name = Aurora

# Shown at the start
# $user is a name
hello = Hello, { $user }! Welcome to { -brand-name }.
open-button =
    .label = Open file
    .accesskey = O
    .title = Opens "{ $file }" in a <b>new</b> tab

long = A first line,
    a second one
      and more.
block =
    Begins on its own line
    { $user } again.
mails =
    { $count ->
        [zero] No mail
        [one] One new mail
       *[other] { $count } new mails
    }
who = { $gender ->
    [male] He is here
   *[other] They are here
}
inside = You have { $n ->
    [one] one thing
   *[other] { NUMBER($n) } things
}.
literal = A brace: { "{" } end
