/* Whether texts are UTF-8, and whether they hold what backends cannot store. */
#include "reader.h"

/* Sixteen bytes at once, by the compiler's vectors: one instruction or several, as the machine has. */
typedef uint8_t Block __attribute__((vector_size(16)));
#define BLOCK ((Py_ssize_t)sizeof(Block))

/* The place of the first of `size` bytes that needs a look: what is not ASCII, a zero, a backslash.
 * `size` if there is none. All of a block is read, so there must be as many bytes. */
static inline Py_ssize_t first_marked(const uint8_t *at, Py_ssize_t size) {
    Block block;
    uint64_t halves[2];
    memcpy(&block, at, sizeof block);
    Block marks = (block | (Block)(block == 0) | (Block)(block == '\\')) & 0x80;
    memcpy(halves, &marks, sizeof halves);
    for (int half = 0; half < 2; half++) {
        uint64_t word = little_endian64((const uint8_t *)&halves[half]);
        if (!word) continue;
        Py_ssize_t place = 8 * half + (__builtin_ctzll(word) >> 3);
        return place < size ? place : size;
    }
    return size;
}

/* How many bytes the character at `at` has, 0 if it is none: the table of well-formed sequences
 * in the Unicode Standard, 3-7. Surrogates and what is above U+10FFFF are not characters. */
static inline int character(const uint8_t *at, const uint8_t *end) {
    uint8_t first = at[0];
    size_t size = (size_t)(end - at);
    if (first < 0xc2 || first > 0xf4) return 0;
    int length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (size < (size_t)length) return 0;
    uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < least || at[1] > most) return 0;
    for (int i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    return length;
}

static inline bool is_hex(uint8_t byte) {
    uint8_t letter = byte | 0x20;
    return (byte >= '0' && byte <= '9') || (letter >= 'a' && letter <= 'f');
}

/* Whether at `at` is JSON's escape of a surrogate, whole, whose second hexadecimal digit is from
 * `low` to `high`. */
static bool is_surrogate(const uint8_t *at, uint8_t low, uint8_t high) {
    uint8_t digit = at[3] > '9' ? at[3] | 0x20 : at[3];
    return at[0] == '\\' && at[1] == 'u' && (at[2] | 0x20) == 'd' && digit >= low &&
           digit <= high && is_hex(at[4]) && is_hex(at[5]);
}

/* How many bytes the escape has whose backslash is at `at`: they are passed over together, so that
 * an escaped backslash begins no escape. `clean` becomes false where `repair` may replace it: of
 * surrogates only pairs stay, and what follows half an escape does not matter. */
static Py_ssize_t escape(const uint8_t *at, const uint8_t *end, bool *clean) {
    Py_ssize_t size = end - at;
    /* Bytes of a long character, and of U+0000, are looked at as those of a text. */
    if (size < 2 || at[1] == 0 || at[1] >= 0x80) return 1;
    if (at[1] != 'u' || size < 6) return 2;
    if (memcmp(at + 2, "0000", 4) == 0) *clean = false;
    if ((at[2] | 0x20) != 'd' || at[3] < '8') return 2;
    if (size >= 12 && is_surrogate(at, '8', 'b') && is_surrogate(at + 6, 'c', 'f')) return 12;
    *clean = false;
    return 2;
}

bool read_text(Reader text, const uint8_t *limit, bool *clean) {
    const uint8_t *at = text.at;
    while (at < text.end) {
        Py_ssize_t size = text.end - at < BLOCK ? text.end - at : BLOCK;
        if (limit - at >= BLOCK) {
            Py_ssize_t place = first_marked(at, size);
            at += place;
            if (place == size) continue;
        }
        if (*at >= 0x80) {
            /* Such characters come in rows. */
            do {
                int length = character(at, text.end);
                if (!length) return false;
                at += length;
            } while (at < text.end && *at >= 0x80);
            continue;
        }
        if (*at == '\\') {
            at += escape(at, text.end, clean);
            continue;
        }
        if (*at == 0) *clean = false;
        at++;
    }
    return true;
}
