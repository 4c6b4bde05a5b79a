#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every public name has a comment: every_name.py FOLDER_OF_DOXYGEN_XML. Doxygen's own warnings leave out enumerators,
aliases, constants and overloads. Names those without, and ends with status 1 if there are any."""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def has_comment(element):
    return any("".join(part.itertext()).strip()
               for part in element if part.tag in ("briefdescription", "detaileddescription"))


def is_special(member):
    """Destructors, copies and what the compiler makes of them say all that there is to say by themselves."""
    arguments = member.findtext("argsstring") or ""
    return (member.findtext("name", "").startswith("~") or "= delete" in arguments or "=delete" in arguments
            or (arguments.endswith("=default") and "operator==" not in member.findtext("name", "")
                and arguments.startswith("()")))


def main():
    names, bare = 0, []
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.xml")):
        for compound in ElementTree.parse(path).getroot().findall("compounddef"):
            where = compound.findtext("compoundname")
            if compound.get("kind") not in ("class", "struct", "namespace", "concept") or compound.get("prot") == "private":
                continue
            if compound.get("kind") != "namespace":
                names += 1
                bare += [] if has_comment(compound) else [where]
            for member in compound.iter("memberdef"):
                if member.get("prot") == "private" or is_special(member):
                    continue
                for item in (member, *member.findall("enumvalue")):
                    names += 1
                    bare += [] if has_comment(item) else [f"{where}::{member.findtext('name')} {item.findtext('name')}"]
    print(f"{names} public names, {len(bare)} without a comment", *sorted(set(bare)), sep="\n")
    sys.exit(1 if bare or names < 400 else 0)


main()
