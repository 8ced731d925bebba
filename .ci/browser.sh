# Sourced by .ci/run.
# shellcheck shell=bash

# Make sure that Chromium, its driver and a Chinese font are there. Fails when they cannot be installed.
find_browser() {
    if [ -x /usr/bin/chromium ] && [ -x /usr/bin/chromedriver ]; then
        return 0
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        return 1
    fi
    apt-get update -qq && apt-get install -qq -y chromium chromium-driver fonts-noto-cjk >/dev/null || exit 1
}
