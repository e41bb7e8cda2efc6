"""Certificate authorities and certificates for tests, made on the spot."""

import subprocess

import servers


class Certificates:
    """Makes keys and certificates in a folder with the ``openssl`` command."""

    def __init__(self, folder):
        self.folder = folder
        self._openssl = servers.program("openssl", "openssl")

    def path(self, name):
        """Path of a file of this folder, as text."""
        return str(self.folder / name)

    def authority(self, name):
        """``name.pem`` and ``name.key``, signed by themselves."""
        self.run(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", self.path(f"{name}.key")),
            *("-out", self.path(f"{name}.pem")),
        )

    def sign(self, name, authority, extension):
        """``name.pem`` and ``name.key``, signed by an authority."""
        self.run(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.csr")),
        )
        (self.folder / "extension").write_text(extension + "\n")
        self.run(
            *("x509", "-req", "-days", "2", "-in", self.path(f"{name}.csr")),
            *("-CA", self.path(f"{authority}.pem"), "-CAkey", self.path(f"{authority}.key")),
            *("-CAcreateserial", "-extfile", self.path("extension")),
            *("-out", self.path(f"{name}.pem")),
        )

    def run(self, *arguments):
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)
