/* text.h - checks of text that comes from outside: UTF-8, names, labels. */
#ifndef AL_BASE_TEXT_H
#define AL_BASE_TEXT_H

#include "base/bytes.h"
#include <stdbool.h>

/* Well-formed UTF-8: shortest form, no surrogates, at most U+10FFFF. */
bool al_utf8_is_valid(struct al_str text);
/* Valid UTF-8 without control characters (C0, DEL, C1). */
bool al_text_is_plain(struct al_str text);
/* "[namespace/]name", each part [a-z0-9._-]{1,64}. */
bool al_name_is_valid(struct al_str name);
/* "group:" and a name of that sort. */
bool al_group_name_is_valid(struct al_str name);
/* [A-Za-z0-9._:/-]{1,AL_KIND_MAX}: kinds are identifiers, not prose. */
bool al_kind_is_valid(struct al_str kind);

#endif
