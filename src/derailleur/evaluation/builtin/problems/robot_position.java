public static Pair<Long, Long> robotPosition(String commands) {
    long x = 0, y = 0, dx = 0, dy = 1;
    for (char command : commands.toCharArray()) {
        if (command == 'F') {
            x += dx;
            y += dy;
        } else {
            long sign = command == 'L' ? 1 : -1;
            long turned = -dy * sign;
            dy = dx * sign;
            dx = turned;
        }
    }
    return Pair.with(x, y);
}
