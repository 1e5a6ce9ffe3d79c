#!/bin/sh
# Sees to the Chromium that the browser tests drive. Never fails: without it they are skipped, and say so.
command -v chromium >/dev/null 2>&1 && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo 'Installing Chromium for the browser tests (about a minute) …'
    export DEBIAN_FRONTEND=noninteractive
    install="apt-get -qq -o DPkg::Lock::Timeout=60 install -y --no-install-recommends chromium fonts-liberation"
    # The lists may be absent or stale: then fetch them and try once more.
    { $install || { apt-get -qq update && $install; }; } >/dev/null 2>&1 && exit 0
fi

echo 'No Chromium: browser tests will be skipped. Install it with: sudo apt-get install chromium'
exit 0
