"""What a node tells about itself, as far as its configuration goes."""


def read(client):
    """A dict of what ``fieldpost config show`` shows. Raises ApiError.

    ``{node, version, board, uptime_ms, revision, trial, returned, staged, links, devices}``:
    ``links`` is ``[{name, connected, reason}, ...]``, ``devices`` ``{id: status}``; ``trial``,
    ``returned`` and ``staged`` as ``config.status`` says them.
    """
    status = client.call("config.status")
    info = client.call("system.getInfo")
    links = client.call("mqtt.getStatus")
    state = client.call("system.getState")
    return {
        "node": info["node"],
        "version": info["version"],
        "board": info["board"],
        "uptime_ms": info["uptime_ms"],
        **status,
        "links": [{key: link[key] for key in ("name", "connected", "reason")} for link in links],
        "devices": state["devices"],
    }


def trial_words(trial):
    """A line about a trial; nothing without one."""
    if not trial:
        return ""
    waits = ", ".join(trial["waits"]) or "its start"
    left = "" if trial["left_s"] is None else f", {trial['left_s']} s left"
    return f"revision {trial['revision']} waits for {waits}{left}"


def returned_words(returned):
    """A line about a configuration that the node has returned from; nothing without one."""
    return f"revision {returned['revision']}: {returned['reason']}" if returned else ""


def links_words(links):
    """All links on a line."""
    return ", ".join(
        f"{link['name']} {'up' if link['connected'] else _down(link)}" for link in links
    )


def devices_words(devices):
    """How many devices are well, and which are not."""
    bad = [f"{id} {status}" for id, status in sorted(devices.items()) if status != "ok"]
    return ", ".join([f"{len(devices) - len(bad)} ok", *bad])


def _down(link):
    return f"down ({link['reason']})" if link["reason"] else "down"
