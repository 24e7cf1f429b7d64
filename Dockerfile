# The head end in a container: built in one stage, run by an unprivileged user in another.
#
#   docker build -t headend .
#   docker run --rm -p 8080:8080 --shm-size 512m -v headend:/var/lib/headend headend
#
# /dev/shm holds the rings and the HLS window: about 80 MB a channel of the demo's ladder.
# Multicast inputs need --network host.

FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/headend \
 && /opt/headend/bin/pip install --no-cache-dir .

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 990 --home-dir /var/lib/headend --create-home headend
COPY --from=build /opt/headend /opt/headend
COPY configs /etc/headend
ENV PATH=/opt/headend/bin:$PATH PYTHONUNBUFFERED=1
USER headend
WORKDIR /var/lib/headend
VOLUME /var/lib/headend
EXPOSE 8080
STOPSIGNAL SIGTERM
# Ready means: every channel has a fresh picture. A container that only answers is not healthy.
HEALTHCHECK --interval=10s --timeout=4s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/readyz', timeout=3)"]
ENTRYPOINT ["headend"]
CMD ["demo", "--host", "0.0.0.0", "--data", "/var/lib/headend"]
