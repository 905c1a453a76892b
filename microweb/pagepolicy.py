"""The Content-Security-Policy of microweb's own pages: the debugger's and that of the API documentation."""

from __future__ import annotations

__all__ = ["make_policy"]


def make_policy(nonce: str) -> str:
    """Allow a page its own style and script, and requests to its own origin; nothing else."""
    # SECURITY: test_the_page_has_a_strict_policy, test_the_page_has_a_strict_policy_with_a_nonce_of_its_own
    return (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
