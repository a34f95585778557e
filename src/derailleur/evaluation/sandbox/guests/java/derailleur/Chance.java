package derailleur;

import java.lang.reflect.Field;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Makes chance the same in every run, so that a verdict is. Of the generators that seed themselves it reaches those
 * of `ThreadLocalRandom`, by which `BigInteger` tests primes; `new Random()` and `SecureRandom` it does not.
 * Needs `--add-opens java.base/java.util.concurrent=ALL-UNNAMED`.
 */
final class Chance {
    private Chance() {}

    static void fix() {
        try {
            Field seeder = ThreadLocalRandom.class.getDeclaredField("seeder");
            seeder.setAccessible(true);
            ((AtomicLong) seeder.get(null)).set(0);
        } catch (ReflectiveOperationException error) {
            // a platform that seeds in another way
        }
    }
}
