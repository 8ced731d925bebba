# Stage 1: the dependencies as an environment that can be copied. All of them come as wheels: no compiler is needed.
FROM python:3.11-slim AS dependencies
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /opt/wolfgate \
    && /opt/wolfgate/bin/pip install --no-cache-dir --disable-pip-version-check -r /tmp/requirements.txt

# Stage 2: what runs.
FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin wolfgate \
    && install -d -o wolfgate -g wolfgate -m 700 /data
COPY --from=dependencies /opt/wolfgate /opt/wolfgate
WORKDIR /app
COPY . .
ENV PATH=/opt/wolfgate/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    STATIC_ROOT=/app/staticfiles \
    WOLFGATE_DATA_DIR=/data \
    HOST=0.0.0.0 \
    PORT=8000

# Catalogues and static files belong to the image, and settings that could not go to production stop the build. The
# secrets are throwaway ones of this step; the real ones come from the environment or are made in /data.
RUN export WOLFGATE_DATA_DIR=/tmp/build BEHIND_TLS=1 PUBLIC_URL=https://wolfgate.example.com \
        SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(48))')" \
        WOLFGATE_KEY_PEPPER="$(python -c 'import secrets; print(secrets.token_urlsafe(48))')" \
        WOLFGATE_ENCRYPTION_KEYS="$(python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')" \
    && python -m compileall -q /app \
    && python -m scripts.prepare \
    && python manage.py check --deploy --fail-level WARNING \
    && rm -rf /tmp/build

USER wolfgate
VOLUME /data
EXPOSE 8000
# Open streams are finished before the process ends: give `docker stop` more than DRAIN_TIMEOUT_S (`-t 60`).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "scripts.healthcheck"]
ENTRYPOINT ["python", "-P", "-m", "scripts.serve", "--system-python"]
