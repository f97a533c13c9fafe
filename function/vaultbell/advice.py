"""What to do next, and where to look: a step for each error code of CBR, else for the outcome; the console's address.

The codes and what they mean are from "Error Codes" of the API reference. A step is one or two short sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

_CODE = re.compile(r"BackupService\.([0-9]{4})")

# The codes (`BackupService.NNNN`) that one step is for.
_BUSY = "0002 2002 2010 6125 6130 6134 6203 6216 7200 7302"
_PASSING = """
    4004 4005 4006 4007 6107 6108 6110 6111 6115 6118 6121 6132 6139 6201 6212 6214
    6400 6401 6403 6404 6405 6406 6407 6408 8400
"""
_GROUPS: Mapping[str, str] = {
    # What passes, and what only the cloud's own people can repair
    _BUSY: "Wait until the other task on this resource or vault has ended, then run this one again.",
    "2005 6206 6208 6702": "Wait until the backup is available, then run the task again.",
    "7009": "Wait until the deletion of the disk's last backup has ended, then back it up again.",
    _PASSING: "Run the task again. If it fails the same way, open a support ticket with the task's id.",
    "1006 2012 6109 6131 6138 6213 6708 6711 7004 7103 7105 9910": "Open a support ticket with the task's id: this "
    "cannot be repaired from your side.",
    # Space and quotas
    "6114 6142": "Expand the vault, or delete backups that are no longer needed: until then nothing new is backed up.",
    "6129": "Expand the destination vault, or delete old backups in it, then replicate again.",
    "6123": "Look for an unpaid or unfinished order to expand the vault; settle it, then expand the vault again.",
    "6100": "Associate the resource with another vault: this one holds as many as it may.",
    "6001 6133 6600 6701 7303 8300": "Have the quota raised, or remove what is no longer needed, then try again.",
    # The resource
    "0001": "Look whether anything is associated with the vault, and whether all of it is being backed up already.",
    "6215 7003 7101": "Bring the server or disk into a normal state, then back it up again.",
    "7102": "Start the server, or take it out of the vault if it is meant to be off; then back it up again.",
    "7001 7002 7104 7111": "Detach the SCSI or DESS disks, or exclude them: they cannot be backed up.",
    "7106 7107 7113": "Exclude the shared or local disks: they cannot be backed up.",
    "7007": "Replace the disk by a new one: it is too old to be backed up.",
    "7108": "Attach a disk to the server, or take the server out of the vault.",
    "7109": "Take the bare metal server out of the vault, and protect its data in another way.",
    "7201": "Attach the disk to a server, then run the task again.",
    "7202 7203 7204": "Look at the disk's snapshots in the console, then run the task again.",
    "6302 7000 7100": "Find out whether the server or disk was deleted. If so, take it out of the vault.",
    "6135": "Associate the resource with the vault again: it is not in it.",
    "6103 6104 7006 7116": "Dissociate the resource from the other vault: it can be in one alone. Then run again.",
    "6137": "Associate all servers that share this disk with the same vault.",
    # The vault and its policy
    "6105": "Find out whether the vault was deleted; associate its resources with another one.",
    "6112 6113 6202 6220 6712": "Clear what blocks the vault (an unpaid bill, a lock, a change in progress), then run "
    "the task again.",
    "6102 6124 6126 6127 6136 6713 7300": "Use a vault of a type that allows this task for this resource.",
    "6000 6002": "Apply a backup policy to the vault: without one nothing is backed up by itself.",
    "6003": "Remove the policy from the replication vault before its destination is changed.",
    "6402 7301": "Empty the vault or bucket first.",
    # Replication
    "1005 1011 6119 6122 6128": "Choose a region, project and vault that can take replicas, and correct the policy.",
    "6120": "Create the destination vault, or correct the policy that names it.",
    # Restoring
    "2001": "Choose a disk that is at least as large as the backup, then restore again.",
    "2007": "Restore to another server: this one has been terminated.",
    "2008 2011": "Bring the target server or disk into a state that allows a restore, then try again.",
    "2003 2009 2013 2014 2015 6140 6141 7008 7114 7115 7117": "Choose another target: this one does not fit the "
    "backup. Then restore again.",
    "6200 6217": "Choose another backup: this one, or its restore point, does not exist any more.",
    # Images and sharing
    "6204 6710": "Delete the image that was made of the backup first.",
    "6210 6211": "Use the image that exists: one was made of this backup already.",
    "6207 6209": "Make the image of another backup: this one cannot become one.",
    "6700 6703 6707 6709 6714": "Share another backup: this one cannot be shared, or is already.",
    "6704 6705 6706": "Look whom the backup is shared with, and correct the project or the answer.",
    # The request, the account, the record
    "4001 6101 6106 6116 6117 6300 6301 6601 7110 9900": "Correct the request that started this task: one of its "
    "values is not accepted.",
    "8600": "Complete the account's real-name authentication.",
    "9998": "Renew the credentials, or the rights, of the account under which the task runs.",
    "6500 6501": "Look in the console whether there is a recent backup: the record of this task is gone.",
}
_BY_CODE = {code: step for codes, step in _GROUPS.items() for code in codes.split()}

_BY_OUTCOME: Mapping[str, str] = {
    "failed": "Open the task in the console, remove the cause, and run it again.",
    "partial": "Look in the console which parts failed, repair them, and run the task again.",
    "skipped": "Check the resource's state and the vault's state and free space, then run the task again.",
    "timed_out": "Run the task again at a quieter time. If it times out again, open a support ticket with its id.",
    "overdue": "Look in the console whether the task still advances. If it hangs, open a support ticket with its id: a "
    "running backup cannot be stopped.",
    "stale": "Look in the console whether the policy's schedule still runs and includes the resource. Back it up by "
    "hand until it does.",
    "unknown": "Look the task up in the console, and see whether a newer Vaultbell knows its state.",
    "missing": "Look in the console whether the policy ran and a recent backup exists. The record of an old task is "
    "deleted after a while.",
    "unverified": "Check Vaultbell's credentials, their rights to read CBR tasks, and its region: until then nobody "
    "watches these backups.",
}
RECOVERED = "Nothing now: a newer one has succeeded. Look into the cause by day, so that it does not come back."
UNREADABLE_ALARM = "Read the alarm's own words, and look in the console what became of the backup."

# The console's hosts. That a service's page is `/{service}/?region=…` is what public texts show for other services of
# Open Telekom Cloud and for CBR on Huawei Cloud; the form of a link to one task is documented for neither.
_OTC, _HUAWEI = "console.otc.t-systems.com", "console.huaweicloud.com"
_CONSOLES: Mapping[str, str] = {
    "eu-de": _OTC,
    "eu-nl": _OTC,
    "eu-ch2": "console.sc.otc.t-systems.com",
    "eu-west-101": "console.eu.huaweicloud.com",
}


def next_step(outcome: str, error_code: str | None = None) -> str | None:
    """What somebody who is told of this should do; None where nothing is to be done."""
    if outcome not in _BY_OUTCOME:
        return None
    known = _CODE.search(error_code or "")
    return (_BY_CODE.get(known[1]) if known else None) or _BY_OUTCOME[outcome]


def link(region: str | None) -> str | None:
    """The console's page of CBR in that region; None where no region is known."""
    return f"https://{_CONSOLES.get(region, _HUAWEI)}/cbr/?region={quote(region, safe='')}" if region else None
