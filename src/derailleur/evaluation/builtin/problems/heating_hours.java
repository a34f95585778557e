public static ArrayList<Boolean> heatingHours(ArrayList<Float> temperatures, float low, float high) {
    ArrayList<Boolean> hours = new ArrayList<>();
    boolean isOn = false;
    for (float temperature : temperatures) {
        if (temperature < low) {
            isOn = true;
        } else if (temperature > high) {
            isOn = false;
        }
        hours.add(isOn);
    }
    return hours;
}
