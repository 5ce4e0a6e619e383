"""An HTTP/2 client with control over frames and flow-control windows, by the h2 library."""

from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from signing import Signature
from sockets import connect


class Http2:
    """A connection. With a window of 0 the server can send headers, but no body."""

    def __init__(self, url, window=None, source=None):
        self.authority = urlsplit(url).netloc
        self.stream = connect(url, source=source)
        self.connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        if window is not None:
            initial = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: window}
            self.connection.local_settings = Settings(client=True, initial_values=initial)
        self.connection.initiate_connection()
        self.flush()

    def flush(self):
        self.stream.sendall(self.connection.data_to_send())

    def post(self, path, body=b"{}", key=None, end=True):
        """Sends a request, unsigned without a key; with `end=False` the body is never sent."""
        signed = Signature(key).headers("POST", f"http://{self.authority}{path}", body) if key else {}
        headers = [(":method", "POST"), (":scheme", "http"), (":authority", self.authority), (":path", path)]
        headers += [(name.lower(), value) for name, value in signed.items()]
        number = self.connection.get_next_available_stream_id()
        self.connection.send_headers(number, headers)
        if end:
            self.connection.send_data(number, body, end_stream=True)
        self.flush()

    def wait_for_end(self):
        """Reads frames until the server closes the connection."""
        try:
            while self.stream.recv(1 << 16):
                pass
        except ConnectionError:
            pass

    def close(self):
        self.stream.close()
