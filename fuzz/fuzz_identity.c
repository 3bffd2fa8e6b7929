/* fuzz_identity.c - identities: what is taken is written back to the byte. */
#include "base/identity.h"
#include "base/text.h"
#include "fuzz.h"
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[AL_IDENTITY_MAX + 1], name[AL_NAME_MAX + 1];
    struct al_identity identity, again;
    int r = al_identity_parse(al_str_of(data, size), &identity);

    if (r == 0) {
        r = al_identity_format(&identity, text);
        assert(r == 0 && strlen(text) == size && memcmp(text, data, size) == 0);
        al_identity_full_name(&identity, name);
        assert(al_name_is_valid(al_str_c(name)));
        r = al_identity_of(identity.network, identity.role, al_str_c(name), &again);
        assert(r == 0 && al_str_eq(again.name, identity.name) &&
               al_str_eq(again.namespace, identity.namespace));
    }
    return 0;
}
