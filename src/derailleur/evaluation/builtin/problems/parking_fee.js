function parking_fee(minutes){
    if (minutes <= 30) {
        return 0;
    }
    const hours = Math.ceil(minutes / 60);
    return Math.min(2 * hours, 15);
}
