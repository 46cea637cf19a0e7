"""Our own certificate authority: signing keys, their files, what goes into a certificate."""
