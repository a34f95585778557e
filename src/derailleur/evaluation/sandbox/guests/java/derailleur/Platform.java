package derailleur;

import java.io.FileDescriptor;
import java.lang.reflect.Field;
import java.util.concurrent.atomic.AtomicLong;
import sun.misc.Unsafe;

/**
 * What the platform has no door for. Through `Unsafe`, since `--add-opens` costs a sixth of the time that the
 * virtual machine takes to start.
 */
final class Platform {
    private static final Unsafe UNSAFE = unsafe();

    private Platform() {}

    private static Unsafe unsafe() {
        try {
            Field field = Unsafe.class.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            return (Unsafe) field.get(null);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    static FileDescriptor descriptor(int number) {
        try {
            FileDescriptor descriptor = new FileDescriptor();
            Field field = FileDescriptor.class.getDeclaredField("fd");
            UNSAFE.putInt(descriptor, UNSAFE.objectFieldOffset(field), number);
            return descriptor;
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    /**
     * Makes chance the same in every run, so that a verdict is. Of the generators that seed themselves this reaches
     * those of `ThreadLocalRandom`, by which `BigInteger` tests primes, not `new Random()` and `SecureRandom`.
     */
    static void fixChance() {
        try {
            Class<?> initialised = Class.forName("java.util.concurrent.ThreadLocalRandom");
            Field field = initialised.getDeclaredField("seeder");
            long offset = UNSAFE.staticFieldOffset(field);
            ((AtomicLong) UNSAFE.getObject(UNSAFE.staticFieldBase(field), offset)).set(0);
        } catch (ReflectiveOperationException error) {
            // a platform that seeds in another way
        }
    }
}
