#!/usr/bin/env bash
# examples/run on a machine without its packages. It runs a copy, and a fake apt-get installs the packages, fonts and
# textures. It must pass at the first run, ask only for its own few packages, and show progress. If all packages are
# installed, it needs no root.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
report() { # NAME STATUS
    if [ "$2" -eq 0 ]; then echo "ok first use: $1"; else
        echo "not ok first use: $1: $(tail -n 3 "$tmp/log" | tr '\n' ' ')"
        failed=1
    fi
}

mkdir -p "$tmp/top" "$tmp/bin" "$tmp/machine"
cp -r --parents .ci examples mtrace*.h "$tmp/top"
sed -i "s|=/usr/share/|=$tmp/machine/|" "$tmp/top/examples/run"
grep -q "$tmp/machine" "$tmp/top/examples/run"
report "the copy looks elsewhere" $?

# A package is installed when its name is in $tmp/installed.
cat >"$tmp/bin/dpkg-query" <<END
#!/bin/bash
grep -qx "\${!#}" "$tmp/installed" && echo "install ok installed"
END
cat >"$tmp/bin/apt-get" <<END
#!/bin/bash
echo "apt-get \$*" >>"$tmp/called"
echo "Get:1 http://deb.debian.org/debian"
[ "\$1" = install ] || exit 0
printf '%s\n' "\$@" | grep -v '^-\|^install$' >>"$tmp/installed"
cp -r --parents -t "$tmp/machine" fonts/truetype/dejavu games/chromium-bsu
END
sed -i 's|^cp -r|cd /usr/share \&\& cp -r|' "$tmp/bin/apt-get"
printf '#!/bin/bash\ncat "%s"\n' "$tmp/uid" >"$tmp/bin/id"
printf '#!/bin/bash\nexit 127\n' >"$tmp/bin/sudo"
printf '#!/bin/bash\nexec %s "$@" -O0 -g0\n' "$(command -v cc)" >"$tmp/bin/cc" # how fast it runs is not the question
chmod +x "$tmp/bin"/*

run() { # USER
    echo "$1" >"$tmp/uid"
    : >"$tmp/called"
    (cd "$tmp/top" && PATH=$tmp/bin:$PATH examples/run) >"$tmp/out" 2>"$tmp/log" </dev/null
}
: >"$tmp/installed"
run 0
report "the first run passes" $?
grep -q 'examples/asset_load.c' "$tmp/out" && grep -q 'examples/lua_host.lua' "$tmp/out"
report "the first run prints both examples" $?
grep -q '^setup: installing' "$tmp/log" && grep -q '^Get:1' "$tmp/log"
report "installing shows its progress" $?
# The machine that runs this has a cc, so gcc is not asked for.
[ "$(sort "$tmp/installed" | tr '\n' ' ')" = \
    "chromium-bsu-data fonts-dejavu-core libc6-dev liblua5.4-dev libstb-dev libxxhash-dev " ]
report "only its own packages are installed" $?
run 1000 && [ ! -s "$tmp/called" ]
report "without root where all are there" $?
sed -i '/libstb-dev/d' "$tmp/installed"
rm "$tmp/bin/sudo"
# Only the programs that it needs are found: the machine may have a sudo.
mkdir "$tmp/few" && for command in bash cat dirname grep; do ln -s "$(command -v $command)" "$tmp/few/$command"; done
! (cd "$tmp/top" && PATH=$tmp/bin:$tmp/few .ci/setup examples) >"$tmp/log" 2>&1 &&
    grep -q 'run as root, or install sudo, to install:.* libstb-dev' "$tmp/log"
report "without root and sudo it names what is missing" $?
exit $failed
