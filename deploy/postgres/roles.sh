#!/usr/bin/env bash
# Runs once, in a fresh data folder: the two roles of Towpath, the database of the one, the extension.
set -euo pipefail
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set owner_password="$OWNER_PASSWORD" --set app_password="$APP_PASSWORD" <<'SQL'
CREATE ROLE towpath_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE towpath_app LOGIN PASSWORD :'app_password';
CREATE DATABASE towpath OWNER towpath_owner;
REVOKE TEMPORARY ON DATABASE towpath FROM PUBLIC;
\connect towpath
CREATE EXTENSION vector;
SQL
